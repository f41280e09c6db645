"""The public names of PyTorch that gradmesh does not have, and why: reason by reason, module by module."""

from __future__ import annotations

LEFT_OUT: dict[str, dict[str, str]] = {
    "": {
        "Python's own modules and the package itself, which are visible by accident": """
            builtins classproperty ctypes functools glob importlib inspect math os platform random sys textwrap
            thread_safe_generator threading torch types warnings
        """,
        "other devices": """
            AcceleratorError DeviceObjType Event OutOfMemoryError Stream StreamObjType accelerator backends cpp cpu
            cudnn_affine_grid_generator cudnn_batch_norm cudnn_convolution cudnn_convolution_add_relu
            cudnn_convolution_relu cudnn_convolution_transpose cudnn_grid_sampler cudnn_is_acceptable
            get_device_module is_vulkan_available miopen_batch_norm miopen_convolution miopen_convolution_add_relu
            miopen_convolution_relu miopen_convolution_transpose miopen_ctc_loss miopen_depthwise_convolution miopen_rnn
            mkldnn_adaptive_avg_pool2d mkldnn_convolution mkldnn_linear_backward_weights mkldnn_max_pool2d
            mkldnn_max_pool3d mkldnn_rnn_layer mps mtia profiler_allow_cudagraph_cupti_lazy_reinit_cuda12 xpu
        """,
        "quantised numbers": """
            ao choose_qparams_optimized dequantize empty_quantized fake_quantize_per_channel_affine
            fake_quantize_per_tensor_affine fbgemm_linear_fp16_weight fbgemm_linear_fp16_weight_fp32_activation
            fbgemm_linear_int8_weight fbgemm_linear_int8_weight_fp32_activation fbgemm_linear_quantize_weight
            fbgemm_pack_gemm_matrix_fp16 fbgemm_pack_quantized_matrix fused_moving_avg_obs_fake_quant int_repr
            per_channel_affine per_channel_affine_float_qparams per_channel_symmetric per_tensor_affine
            per_tensor_symmetric q_per_channel_axis q_per_channel_scales q_per_channel_zero_points q_scale q_zero_point
            qint32 qint8 qscheme quantization quantize_per_channel quantize_per_tensor quantize_per_tensor_dynamic
            quantized_batch_norm quantized_gru quantized_gru_cell quantized_lstm quantized_lstm_cell
            quantized_max_pool1d quantized_max_pool2d quantized_max_pool3d quantized_rnn_relu_cell
            quantized_rnn_tanh_cell quint2x4 quint4x2 quint8
        """,
        "sparse, nested and other layouts: tensors are dense": """
            ccol_indices_copy col_indices_copy crow_indices_copy dsmm hsmm hspmm indices_copy jagged layout
            legacy_contiguous_format nested resize_as_sparse_ row_indices_copy saddmm segment_reduce slice_inverse smm
            sparse sparse_bsc sparse_bsc_tensor sparse_bsr sparse_bsr_tensor sparse_compressed_tensor sparse_coo
            sparse_coo_tensor sparse_csc sparse_csc_tensor sparse_csr sparse_csr_tensor spmm sspaddmm strided
            values_copy
        """,
        "dtypes that NumPy and this project do not have": """
            bit bits16 bits1x8 bits2x4 bits4x2 bits8 chalf complex32 float4_e2m1fn_x2 float8_e4m3fn float8_e4m3fnuz
            float8_e5m2 float8_e5m2fnuz float8_e8m0fnu int1 int2 int3 int4 int5 int6 int7 uint1 uint16 uint2 uint3
            uint32 uint4 uint5 uint6 uint64 uint7
        """,
        "raw memory, whose content or layout is no value": """
            BFloat16Storage BoolStorage ByteStorage CharStorage ComplexDoubleStorage ComplexFloatStorage
            DeserializationStorageContext DoubleStorage FloatStorage HalfStorage IntStorage LongStorage QInt32Storage
            QInt8Storage QUInt2x4Storage QUInt4x2Storage QUInt8Storage SerializationStorageContext ShortStorage Storage
            StorageBase TypedStorage UntypedStorage as_strided_ empty_permuted empty_strided from_file is_storage
            resize_as_ storage to_dlpack
        """,
        "PyTorch's compilers, tracers and symbols: what is recorded here needs none of them": """
            AliasDb AnyType Argument ArgumentSpec AwaitType BenchmarkConfig BenchmarkExecutionStats Block BoolType
            BufferDict CallStack Capsule ClassType Code CompilationUnit CompleteArgumentSpec ComplexType
            ConcreteModuleType ConcreteModuleTypeBuilder DeepCopyMemoTable DictType DisableTorchFunction
            DisableTorchFunctionSubclass DispatchKey DispatchKeySet EnumType ErrorReport ExcludeDispatchKeyGuard
            ExecutionPlan FatalError FileCheck FloatType FunctionSchema Future FutureType Gradient Graph
            GraphExecutorState IODescriptor InferredType IntType InterfaceType JITException ListType LiteScriptModule
            LockingLogger LoggerBase ModuleDict Node NoneType NoopLogger NumberType OperatorInfo OptionalType
            ParameterDict PyObjectType PyTorchFileReader PyTorchFileWriter RRefType ScriptClass ScriptClassFunction
            ScriptDict ScriptDictIterator ScriptDictKeyIterator ScriptFunction ScriptList ScriptListIterator
            ScriptMethod ScriptModule ScriptModuleSerializer ScriptObject ScriptObjectProperty StaticModule StringType
            SymBool SymBoolType SymFloat SymInt SymIntType Tag TensorType ThroughputBenchmark TracingState TupleType
            Type UnionType Use Value classes compiler cond export fork functional futures fx
            import_ir_module import_ir_module_from_buffer jit library merge_type_from_type_comment ops overrides
            package parse_ir parse_schema parse_type_comment sym_constrain_range sym_constrain_range_for_size sym_float
            sym_fresh_size sym_int sym_ite sym_max sym_min sym_not sym_sqrt sym_sum unify_type_list wait while_loop
        """,
        "distributed training, processes and threads: a session has its own": """
            AVG AggregationType SUM distributed get_num_interop_threads get_num_threads init_num_threads is_distributed
            multiprocessing prepare_multiprocessing_environment set_num_interop_threads set_num_threads
        """,
        "mixed precision chosen by the library": """
            GradScaler amp autocast autocast_decrement_nesting autocast_increment_nesting clear_autocast_cache
            get_autocast_cpu_dtype get_autocast_dtype get_autocast_gpu_dtype get_autocast_ipu_dtype
            get_autocast_xla_dtype is_autocast_cache_enabled is_autocast_cpu_enabled is_autocast_enabled
            is_autocast_ipu_enabled is_autocast_xla_enabled set_autocast_cache_enabled set_autocast_cpu_dtype
            set_autocast_cpu_enabled set_autocast_dtype set_autocast_enabled set_autocast_gpu_dtype
            set_autocast_ipu_dtype set_autocast_ipu_enabled set_autocast_xla_dtype set_autocast_xla_enabled
        """,
        "how PyTorch was built, and its processor's settings": """
            PRIVATE_OPS USE_GLOBAL_DEPS USE_RTLD_GLOBAL_WITH_LIBTORCH compiled_with_cxx11_abi get_file_path has_lapack
            has_mkl has_openmp has_spectral is_warn_always_enabled set_flush_denormal set_warn_always torch_version
            version
        """,
        "kernels of layers, which nn and nn.functional reach": """
            batch_norm_backward_elemt batch_norm_backward_reduce batch_norm_elemt batch_norm_gather_stats
            batch_norm_gather_stats_with_counts batch_norm_stats batch_norm_update_stats conv_tbc convolution
            embedding_bag embedding_renorm_ gru gru_cell lstm lstm_cell native_dropout native_norm norm_except_dim
            rnn_relu rnn_relu_cell rnn_tanh rnn_tanh_cell
        """,
        "refused or replaced by PyTorch itself, which names torch.linalg instead": """
            eig frobenius_norm lobpcg lstsq matrix_rank nuclear_norm set_default_tensor_type solve symeig
        """,
        "hashes of uint64": "hash_tensor",
        "other parts of the library, which compute nothing": """
            distributions hub monitor profiler quasirandom serialization testing windows
        """,
    },
    "Tensor": {
        "other devices": "cuda ipu mtia pin_memory record_stream xpu",
        "quantised numbers": """
            dequantize int_repr q_per_channel_axis q_per_channel_scales q_per_channel_zero_points q_scale q_zero_point
            qscheme
        """,
        "sparse, nested and other layouts: tensors are dense": """
            ccol_indices coalesce col_indices crow_indices indices is_coalesced resize_as_sparse_ row_indices
            slice_inverse smm sparse_mask sparse_resize_ sparse_resize_and_clear_ sspaddmm to_mkldnn to_padded_tensor
            to_sparse to_sparse_bsc to_sparse_bsr to_sparse_coo to_sparse_csc to_sparse_csr values
        """,
        "dtypes that NumPy and this project do not have": "chalf",
        "raw memory, whose content or layout is no value": """
            as_strided_ const_data_ptr data_ptr is_set_to new_empty_strided resize resize_ resize_as resize_as_ set_
            share_memory_ storage storage_type untyped_storage
        """,
        "subclasses of tensors": "as_subclass module_load",
        "distributed training": "is_distributed",
        "refused or replaced by PyTorch itself": """
            eig index lstsq new reinforce solve symeig volatile
        """,
        "hashes of uint64": "hash_tensor",
        "gradients have the dtype of their tensor": "grad_dtype",
    },
    "linalg": {"texts of PyTorch's documentation": "common_notes"},
    "fft": {"names that are visible by accident": "Tensor common_args factory_common_args torch"},
    "special": {"names that are visible by accident": "Tensor common_args multi_dim_common torch"},
    "signal.windows": {"a module that is visible by accident": "windows"},
    "masked": {
        "tensors with masks are prototypes in PyTorch; functions take masks": """
            MaskedTensor as_masked_tensor is_masked_tensor masked_tensor maskedtensor
        """,
    },
    "autograd": {
        "names that are visible by accident": """
            Mapping cast handle_torch_function has_torch_function is_tensor_like overload torch warnings
        """,
        "profilers": """
            DeviceType ProfilerActivity ProfilerConfig ProfilerEvent ProfilerState kineto_available profiler
            profiler_legacy profiler_util
        """,
        "PyTorch's older names": "NestedIOFunction Variable anomaly_mode grad_mode variable",
        "how PyTorch's engine runs, which is the session's here": """
            enforce_grad_layout_policy is_multithreading_enabled is_view_replay_enabled set_multithreading_enabled
        """,
        "what a node keeps is decided when gradients are asked for": "SavedTensor",
    },
    "autograd.functional": {"names that are visible by accident": "fwAD torch"},
    "func": {"PyTorch's debugging of its levels, and a notation of axes": "debug_unwrap rearrange"},
}
