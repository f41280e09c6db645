// PyTorch's autograd tutorial: y = x + 2, z = 3 y², out = mean(z), and d out / d x.
'use strict';
const { Client, tensor, array } = require('./gradmesh');

// Values are numbered: 0, 1, 2 are the inputs; the nodes make 3 (y), 4 (y²), 5 (z) and 6 (out).
const graph = {
  inputs: [{ dtype: 'float32', shape: [2, 2] }, { dtype: 'float32' }, { dtype: 'float32' }],
  nodes: [
    { op: 'add', inputs: [0, 1], source: 'tutorial.js: y' },
    { op: 'mul', inputs: [3, 3], source: 'tutorial.js: y²' },
    { op: 'mul', inputs: [4, 2], source: 'tutorial.js: z' },
    { op: 'mean', inputs: [5], source: 'tutorial.js: out' },
  ],
  outputs: [3, 5, 6],
};

async function main() {
  const client = new Client(process.argv[2] ?? '127.0.0.1:50051');
  const x = tensor(Float32Array.of(1, 1, 1, 1), [2, 2]);
  const inputs = [x, tensor(2), tensor(3)];
  const reply = await client.call('compute', { graph, inputs, of: [{ value: 6 }], wrt: [0], wantGradFns: true });
  ['y', 'z', 'out'].forEach((name, i) => console.log(name, '=', ...array(reply.outputs[i])));
  console.log('d out / d x =', ...array(reply.gradients[0].tensor));
  for (const fn of reply.gradFns) console.log(fn.name, 'from', fn.source);
}

main().catch((error) => {
  console.error(error.detail ?? error.message);
  process.exit(1);
});
