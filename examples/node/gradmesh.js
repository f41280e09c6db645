// A client in under 60 lines: the contract, a gRPC library, nothing generated. See docs/protocol.md.
'use strict';
const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const files = ['gradient_service', 'blob_service', 'error'].map((name) => `gradmesh/v1/${name}.proto`);
const options = { includeDirs: [path.join(__dirname, '../../proto')], longs: Number, defaults: true, oneofs: true };
const contract = loader.loadSync(files, options);
const { GradientService, BlobService } = grpc.loadPackageDefinition(contract).gradmesh.v1;
const ARRAYS = { float32: Float32Array, float64: Float64Array, int32: Int32Array, int64: BigInt64Array, uint8: Uint8Array };
const MIB = 1 << 20;

// What the server says is wrong: error (the class), op, node, source, expected, got, remedy.
function explained(error) {
  const [packed] = error.metadata?.get('grpc-status-details-bin') ?? [];
  const [detail] = packed ? contract['gradmesh.v1.RpcStatus'].deserialize(packed).details : [];
  return detail ? Object.assign(error, { detail: contract['gradmesh.v1.ErrorDetail'].deserialize(detail.value) }) : error;
}

// The message of a typed array (or of a number: a float32 scalar), and the typed array of a message.
function tensor(values, shape = typeof values === 'number' ? [] : [values.length]) {
  const array = typeof values === 'number' ? Float32Array.of(values) : values;
  const dtype = Object.keys(ARRAYS).find((name) => array instanceof ARRAYS[name]);
  return { dtype, shape, data: Buffer.from(array.buffer, array.byteOffset, array.byteLength) };
}
const array = ({ dtype, data }) => new ARRAYS[dtype](Uint8Array.from(data).buffer);

class Client {
  constructor(address, credentials = grpc.credentials.createInsecure()) {
    this.gradients = new GradientService(address, credentials);
    this.blobs = new BlobService(address, credentials);
  }

  // Any unary call of GradientService, by name. `signal` cancels it.
  call(method, request, { seconds = 30, signal } = {}) {
    return new Promise((resolve, reject) => {
      const done = (error, reply) => (error ? reject(explained(error)) : resolve(reply));
      const call = this.gradients[method](request, { deadline: Date.now() + seconds * 1000 }, done);
      signal?.addEventListener('abort', () => call.cancel(), { once: true });
    });
  }

  // Streams a tensor up in chunks; the reply's digest names it in requests from then on.
  upload({ dtype, shape, data }, { seconds = 300 } = {}) {
    return new Promise((resolve, reject) => {
      const done = (error, reply) => (error ? reject(explained(error)) : resolve(reply.digest));
      const stream = this.blobs.upload({ deadline: Date.now() + seconds * 1000 }, done);
      const header = { spec: { dtype, shape }, length: data.length, contentAddressed: true };
      const starts = Array.from({ length: Math.ceil(data.length / MIB) }, (_, i) => i * MIB);
      const parts = [{ header }, ...starts.map((start) => ({ chunk: data.subarray(start, start + MIB) }))];
      require('node:stream').Readable.from(parts).on('error', reject).pipe(stream); // pipe waits for a slow network
    });
  }
}

module.exports = { Client, tensor, array, grpc };
