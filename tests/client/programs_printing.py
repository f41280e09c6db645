"""Programs about how tensors are printed, each with what PyTorch 2.13 prints for it; see test_programs.py.

`torch` names the library under test and `fails(call, n)` prints the first n characters of the error a
call raises. Addresses are left out.
"""

PROGRAMS: dict[str, tuple[str, str]] = {}


def program(name: str, code: str, printed: str) -> None:
    PROGRAMS[name] = code.strip("\n") + "\n", printed.lstrip("\n")


program(
    "print_dtypes",
    """
print(torch.tensor([1, 2]), torch.tensor([1, 2], dtype=torch.int8), torch.tensor([255], dtype=torch.uint8))
print(torch.tensor([True, False]), torch.tensor(True), torch.tensor(7), torch.tensor(2.5))
print(torch.tensor([1.5, 2.25], dtype=torch.half), torch.tensor([0.1, 100.], dtype=torch.bfloat16))
print(torch.tensor([1., 2.], dtype=torch.float64), torch.tensor([1j, 2. + 0.5j]))
print(torch.tensor([[1. - 1e-3j, -20.5j]], dtype=torch.complex128))
print(torch.tensor(3 + 4j), torch.tensor([1e6 + 1j, 1e-6 - 1j]))
print(torch.tensor([float('nan'), float('inf'), -float('inf'), 1.]))
print(torch.tensor([0., -0.]), torch.tensor([float('nan'), 2.5]), torch.tensor(float('-inf')))
x = torch.ones(2, dtype=torch.float64, requires_grad=True)
print(x)
print(x * 2)
print((x * 2).half())
print(x.dtype, x.half().dtype, torch.int, torch.long, torch.short, torch.double, torch.cfloat)
print(repr(x.shape), str(x.dtype), repr(torch.Size([])), x.device, repr(x.device), x.layout)
print(f"{torch.tensor(3)} {torch.tensor(3.14159):.3f} {torch.tensor(7):>4d} {torch.tensor(True)}")
print(x.type(), torch.tensor([1]).type(), torch.tensor([True]).type())
""",
    """
tensor([1, 2]) tensor([1, 2], dtype=torch.int8) tensor([255], dtype=torch.uint8)
tensor([ True, False]) tensor(True) tensor(7) tensor(2.5000)
tensor([1.5000, 2.2500], dtype=torch.float16) tensor([  0.1001, 100.0000], dtype=torch.bfloat16)
tensor([1., 2.], dtype=torch.float64) tensor([0.+1.0000j, 2.+0.5000j])
tensor([[1.-1.0000e-03j, -0.-2.0500e+01j]], dtype=torch.complex128)
tensor(3.+4.j) tensor([1.0000e+06+1.j, 1.0000e-06-1.j])
tensor([nan, inf, -inf, 1.])
tensor([0., -0.]) tensor([   nan, 2.5000]) tensor(-inf)
tensor([1., 1.], dtype=torch.float64, requires_grad=True)
tensor([2., 2.], dtype=torch.float64, grad_fn=<MulBackward0>)
tensor([2., 2.], dtype=torch.float16, grad_fn=<ToCopyBackward0>)
torch.float64 torch.float16 torch.int32 torch.int64 torch.int16 torch.float64 torch.complex64
torch.Size([2]) torch.float64 torch.Size([]) cpu device(type='cpu') torch.strided
3 3.142    7 True
torch.DoubleTensor torch.LongTensor torch.BoolTensor
""",
)


program(
    "print_magnitudes",
    """
print(torch.tensor([1e-5, 1.]), torch.tensor([1e5, 1.]), torch.tensor([1e8, 2e8]))
print(torch.tensor([1e-3, 1e4]), torch.tensor([123456.789]), torch.tensor([0.00012345]))
print(torch.tensor([1., 1000.5]), torch.tensor([99999999., 1.]), torch.tensor([1e-10, -1e10]))
print(torch.tensor([12345678, -1]), torch.tensor([-128, 127], dtype=torch.int8))
print(torch.tensor([[1., 20.], [300., -4000.]]))
print(torch.tensor([[1.5, float('nan')], [float('inf'), -1e-7]]))
print(torch.tensor([3.4e38, 1.2e-38]), torch.tensor(1e20), torch.tensor(1e-20), torch.tensor(100000.))
print(torch.tensor([65504., 6e-8], dtype=torch.half), torch.tensor([1e300, 1.], dtype=torch.float64))
print(torch.tensor([2.**24, 2.**24 + 2]), torch.tensor([0.5, 0.25, 0.125, 0.0625, 0.03125]))
print((torch.arange(3.) / 3).tolist(), (torch.tensor([0.1, 0.2]) * 3).tolist(), torch.tensor(0.1).item())
""",
    """
tensor([1.0000e-05, 1.0000e+00]) tensor([1.0000e+05, 1.0000e+00]) tensor([1.0000e+08, 2.0000e+08])
tensor([1.0000e-03, 1.0000e+04]) tensor([123456.7891]) tensor([0.0001])
tensor([1.0000e+00, 1.0005e+03]) tensor([1.0000e+08, 1.0000e+00]) tensor([ 1.0000e-10, -1.0000e+10])
tensor([12345678,       -1]) tensor([-128,  127], dtype=torch.int8)
tensor([[ 1.0000e+00,  2.0000e+01],
        [ 3.0000e+02, -4.0000e+03]])
tensor([[ 1.5000e+00,         nan],
        [        inf, -1.0000e-07]])
tensor([3.4000e+38, 1.2000e-38]) tensor(1.0000e+20) tensor(1.0000e-20) tensor(100000.)
tensor([6.5504e+04, 5.9605e-08], dtype=torch.float16) tensor([1.0000e+300,  1.0000e+00], dtype=torch.float64)
tensor([16777216., 16777218.]) tensor([0.5000, 0.2500, 0.1250, 0.0625, 0.0312])
[0.0, 0.3333333432674408, 0.6666666865348816] [0.30000001192092896, 0.6000000238418579] 0.10000000149011612
""",
)


program(
    "print_shapes",
    """
print(torch.zeros(0), torch.zeros(0, 3), torch.zeros(2, 0, dtype=torch.int64))
print(torch.tensor([]), torch.empty(0, dtype=torch.bool), torch.tensor([[]]), torch.zeros(0, requires_grad=True))
print(torch.arange(8).reshape(2, 2, 2))
print(torch.arange(6.).reshape(1, 2, 1, 3))
print(torch.arange(40.))
print(torch.arange(30) * 1000)
print(torch.ones(3, 1), torch.ones(1, 1, 1), torch.ones(1))
print([torch.tensor(1.), torch.ones(2)], {"a": torch.zeros(1)}, (torch.tensor([1 + 1j]),))
print(torch.eye(3, dtype=torch.bool))
print((torch.ones(2, 3, requires_grad=True) * torch.arange(3.)).reshape(3, 2).t())
""",
    """
tensor([]) tensor([], size=(0, 3)) tensor([], size=(2, 0), dtype=torch.int64)
tensor([]) tensor([], dtype=torch.bool) tensor([], size=(1, 0)) tensor([], requires_grad=True)
tensor([[[0, 1],
         [2, 3]],

        [[4, 5],
         [6, 7]]])
tensor([[[[0., 1., 2.]],

         [[3., 4., 5.]]]])
tensor([ 0.,  1.,  2.,  3.,  4.,  5.,  6.,  7.,  8.,  9., 10., 11., 12., 13.,
        14., 15., 16., 17., 18., 19., 20., 21., 22., 23., 24., 25., 26., 27.,
        28., 29., 30., 31., 32., 33., 34., 35., 36., 37., 38., 39.])
tensor([    0,  1000,  2000,  3000,  4000,  5000,  6000,  7000,  8000,  9000,
        10000, 11000, 12000, 13000, 14000, 15000, 16000, 17000, 18000, 19000,
        20000, 21000, 22000, 23000, 24000, 25000, 26000, 27000, 28000, 29000])
tensor([[1.],
        [1.],
        [1.]]) tensor([[[1.]]]) tensor([1.])
[tensor(1.), tensor([1., 1.])] {'a': tensor([0.])} (tensor([1.+1.j]),)
tensor([[ True, False, False],
        [False,  True, False],
        [False, False,  True]])
tensor([[0., 2., 1.],
        [1., 0., 2.]], grad_fn=<TBackward0>)
""",
)


program(
    "print_summarised",
    """
print(torch.arange(1001))
print(torch.arange(2000.) / 7)
print(torch.zeros(1100, requires_grad=True))
print(torch.arange(1200).reshape(40, 30))
print(torch.ones(1500, dtype=torch.float64, requires_grad=True) * 2)
print(torch.arange(1728.).reshape(12, 12, 12))
print(torch.arange(1000)[-5:], torch.zeros(2000, 2).shape)
x = torch.zeros(1001)
x[500] = 1e9
print(x)
x[1] = 1e9
print(x)
""",
    """
tensor([   0,    1,    2,  ...,  998,  999, 1000])
tensor([0.0000e+00, 1.4286e-01, 2.8571e-01,  ..., 2.8529e+02, 2.8543e+02,
        2.8557e+02])
tensor([0., 0., 0.,  ..., 0., 0., 0.], requires_grad=True)
tensor([[   0,    1,    2,  ...,   27,   28,   29],
        [  30,   31,   32,  ...,   57,   58,   59],
        [  60,   61,   62,  ...,   87,   88,   89],
        ...,
        [1110, 1111, 1112,  ..., 1137, 1138, 1139],
        [1140, 1141, 1142,  ..., 1167, 1168, 1169],
        [1170, 1171, 1172,  ..., 1197, 1198, 1199]])
tensor([2., 2., 2.,  ..., 2., 2., 2.], dtype=torch.float64,
       grad_fn=<MulBackward0>)
tensor([[[0.0000e+00, 1.0000e+00, 2.0000e+00,  ..., 9.0000e+00,
          1.0000e+01, 1.1000e+01],
         [1.2000e+01, 1.3000e+01, 1.4000e+01,  ..., 2.1000e+01,
          2.2000e+01, 2.3000e+01],
         [2.4000e+01, 2.5000e+01, 2.6000e+01,  ..., 3.3000e+01,
          3.4000e+01, 3.5000e+01],
         ...,
         [1.0800e+02, 1.0900e+02, 1.1000e+02,  ..., 1.1700e+02,
          1.1800e+02, 1.1900e+02],
         [1.2000e+02, 1.2100e+02, 1.2200e+02,  ..., 1.2900e+02,
          1.3000e+02, 1.3100e+02],
         [1.3200e+02, 1.3300e+02, 1.3400e+02,  ..., 1.4100e+02,
          1.4200e+02, 1.4300e+02]],

        [[1.4400e+02, 1.4500e+02, 1.4600e+02,  ..., 1.5300e+02,
          1.5400e+02, 1.5500e+02],
         [1.5600e+02, 1.5700e+02, 1.5800e+02,  ..., 1.6500e+02,
          1.6600e+02, 1.6700e+02],
         [1.6800e+02, 1.6900e+02, 1.7000e+02,  ..., 1.7700e+02,
          1.7800e+02, 1.7900e+02],
         ...,
         [2.5200e+02, 2.5300e+02, 2.5400e+02,  ..., 2.6100e+02,
          2.6200e+02, 2.6300e+02],
         [2.6400e+02, 2.6500e+02, 2.6600e+02,  ..., 2.7300e+02,
          2.7400e+02, 2.7500e+02],
         [2.7600e+02, 2.7700e+02, 2.7800e+02,  ..., 2.8500e+02,
          2.8600e+02, 2.8700e+02]],

        [[2.8800e+02, 2.8900e+02, 2.9000e+02,  ..., 2.9700e+02,
          2.9800e+02, 2.9900e+02],
         [3.0000e+02, 3.0100e+02, 3.0200e+02,  ..., 3.0900e+02,
          3.1000e+02, 3.1100e+02],
         [3.1200e+02, 3.1300e+02, 3.1400e+02,  ..., 3.2100e+02,
          3.2200e+02, 3.2300e+02],
         ...,
         [3.9600e+02, 3.9700e+02, 3.9800e+02,  ..., 4.0500e+02,
          4.0600e+02, 4.0700e+02],
         [4.0800e+02, 4.0900e+02, 4.1000e+02,  ..., 4.1700e+02,
          4.1800e+02, 4.1900e+02],
         [4.2000e+02, 4.2100e+02, 4.2200e+02,  ..., 4.2900e+02,
          4.3000e+02, 4.3100e+02]],

        ...,

        [[1.2960e+03, 1.2970e+03, 1.2980e+03,  ..., 1.3050e+03,
          1.3060e+03, 1.3070e+03],
         [1.3080e+03, 1.3090e+03, 1.3100e+03,  ..., 1.3170e+03,
          1.3180e+03, 1.3190e+03],
         [1.3200e+03, 1.3210e+03, 1.3220e+03,  ..., 1.3290e+03,
          1.3300e+03, 1.3310e+03],
         ...,
         [1.4040e+03, 1.4050e+03, 1.4060e+03,  ..., 1.4130e+03,
          1.4140e+03, 1.4150e+03],
         [1.4160e+03, 1.4170e+03, 1.4180e+03,  ..., 1.4250e+03,
          1.4260e+03, 1.4270e+03],
         [1.4280e+03, 1.4290e+03, 1.4300e+03,  ..., 1.4370e+03,
          1.4380e+03, 1.4390e+03]],

        [[1.4400e+03, 1.4410e+03, 1.4420e+03,  ..., 1.4490e+03,
          1.4500e+03, 1.4510e+03],
         [1.4520e+03, 1.4530e+03, 1.4540e+03,  ..., 1.4610e+03,
          1.4620e+03, 1.4630e+03],
         [1.4640e+03, 1.4650e+03, 1.4660e+03,  ..., 1.4730e+03,
          1.4740e+03, 1.4750e+03],
         ...,
         [1.5480e+03, 1.5490e+03, 1.5500e+03,  ..., 1.5570e+03,
          1.5580e+03, 1.5590e+03],
         [1.5600e+03, 1.5610e+03, 1.5620e+03,  ..., 1.5690e+03,
          1.5700e+03, 1.5710e+03],
         [1.5720e+03, 1.5730e+03, 1.5740e+03,  ..., 1.5810e+03,
          1.5820e+03, 1.5830e+03]],

        [[1.5840e+03, 1.5850e+03, 1.5860e+03,  ..., 1.5930e+03,
          1.5940e+03, 1.5950e+03],
         [1.5960e+03, 1.5970e+03, 1.5980e+03,  ..., 1.6050e+03,
          1.6060e+03, 1.6070e+03],
         [1.6080e+03, 1.6090e+03, 1.6100e+03,  ..., 1.6170e+03,
          1.6180e+03, 1.6190e+03],
         ...,
         [1.6920e+03, 1.6930e+03, 1.6940e+03,  ..., 1.7010e+03,
          1.7020e+03, 1.7030e+03],
         [1.7040e+03, 1.7050e+03, 1.7060e+03,  ..., 1.7130e+03,
          1.7140e+03, 1.7150e+03],
         [1.7160e+03, 1.7170e+03, 1.7180e+03,  ..., 1.7250e+03,
          1.7260e+03, 1.7270e+03]]])
tensor([995, 996, 997, 998, 999]) torch.Size([2000, 2])
tensor([0., 0., 0.,  ..., 0., 0., 0.])
tensor([0.0000e+00, 1.0000e+09, 0.0000e+00,  ..., 0.0000e+00, 0.0000e+00,
        0.0000e+00])
""",
)


program(
    "print_options",
    """
x = torch.tensor([[1 / 3, 2 / 3], [1000.1234567, -5.]], dtype=torch.float64)
torch.set_printoptions(precision=2)
print(x)
torch.set_printoptions(precision=8)
print(x)
torch.set_printoptions(sci_mode=True)
print(x)
torch.set_printoptions(profile='default')
print(x)
torch.set_printoptions(sci_mode=False)
print(torch.tensor([1e-8, 1e8]))
torch.set_printoptions(profile='short')
print(x, torch.arange(2000.))
torch.set_printoptions(profile='default', threshold=10, edgeitems=2)
print(torch.arange(12), torch.arange(36.).reshape(6, 6))
torch.set_printoptions(linewidth=30)
print(torch.arange(10.))
torch.set_printoptions(profile='default')
print(torch.arange(12), x.float())
""",
    """
tensor([[ 3.33e-01,  6.67e-01],
        [ 1.00e+03, -5.00e+00]], dtype=torch.float64)
tensor([[ 3.33333333e-01,  6.66666667e-01],
        [ 1.00012346e+03, -5.00000000e+00]], dtype=torch.float64)
tensor([[ 3.33333333e-01,  6.66666667e-01],
        [ 1.00012346e+03, -5.00000000e+00]], dtype=torch.float64)
tensor([[ 3.3333e-01,  6.6667e-01],
        [ 1.0001e+03, -5.0000e+00]], dtype=torch.float64)
tensor([        0.0000, 100000000.0000])
tensor([[ 3.33e-01,  6.67e-01],
        [ 1.00e+03, -5.00e+00]], dtype=torch.float64) tensor([0.00e+00, 1.00e+00,  ..., 2.00e+03, 2.00e+03])
tensor([ 0,  1,  ..., 10, 11]) tensor([[ 0.,  1.,  ...,  4.,  5.],
        [ 6.,  7.,  ..., 10., 11.],
        ...,
        [24., 25.,  ..., 28., 29.],
        [30., 31.,  ..., 34., 35.]])
tensor([0., 1., 2., 3., 4.,
        5., 6., 7., 8., 9.])
tensor([ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11]) tensor([[ 3.3333e-01,  6.6667e-01],
        [ 1.0001e+03, -5.0000e+00]])
""",
)
