// Logistic regression: data go up once, by stream; then gradients until they vanish. And what happens when
// something is wrong, or takes too long.
'use strict';
const assert = require('node:assert/strict');
const { Client, tensor, array, grpc } = require('./gradmesh');

const [ROWS, FEATURES, TOLERANCE, RATE] = [100_000, 10, 1e-4, 4];

// Features from the standard normal distribution, and labels 0 or 1 with the odds that `truth` gives them.
function makeData(truth) {
  let state = 1;
  const uniform = () => ((state = (Math.imul(state, 1664525) + 1013904223) >>> 0) + 0.5) / 2 ** 32;
  const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
  const x = Float32Array.from({ length: ROWS * FEATURES }, normal);
  const y = Float32Array.from({ length: ROWS }, (_, row) => {
    const logit = truth.reduce((sum, weight, i) => sum + weight * x[row * FEATURES + i], 0);
    return uniform() < 1 / (1 + Math.exp(-logit)) ? 1 : 0;
  });
  return { x: tensor(x, [ROWS, FEATURES]), y: tensor(y, [ROWS]) };
}

// 0 features, 1 labels, 2 weights, 3 bias; 4 and 5 logits, 6 the loss.
const graph = {
  inputs: [[ROWS, FEATURES], [ROWS], [FEATURES], []].map((shape) => ({ dtype: 'float32', shape })),
  nodes: [
    { op: 'mv', inputs: [0, 2], source: 'logistic.js: x w' },
    { op: 'add', inputs: [4, 3], source: 'logistic.js: x w + b' },
    { op: 'binary_cross_entropy_with_logits', inputs: [5, 1], source: 'logistic.js: loss' },
  ],
  outputs: [6],
};

async function train(client, x, y) {
  const weights = new Float32Array(FEATURES);
  const bias = new Float32Array(1);
  let source = { graph };
  for (let step = 1; step <= 1000; step++) {
    const inputs = [{ digest: x }, { digest: y }, tensor(weights), tensor(bias, [])];
    const reply = await client.call('compute', { ...source, inputs, of: [{ value: 6 }], wrt: [2, 3] });
    source = { graphDigest: reply.graphDigest }; // The graph itself is sent once.
    const [dw, db] = reply.gradients.map((gradient) => array(gradient.tensor));
    const norm = Math.hypot(...dw, ...db);
    if (norm < TOLERANCE) return { step, loss: array(reply.outputs[0])[0], norm, weights };
    dw.forEach((d, i) => (weights[i] -= RATE * d));
    bias[0] -= RATE * db[0];
  }
  throw new Error('training did not converge');
}

// Weights of the wrong length: the server names the node and says what to do.
async function mistake(client, x, y) {
  const wrong = { ...graph, inputs: graph.inputs.with(2, { dtype: 'float32', shape: [FEATURES + 1] }) };
  const inputs = [{ digest: x }, { digest: y }, tensor(new Float32Array(FEATURES + 1)), tensor(0)];
  const error = await client.call('compute', { graph: wrong, inputs }).then(assert.fail, (e) => e);
  assert.equal(error.code, grpc.status.INVALID_ARGUMENT);
  return error.detail;
}

// Many seconds of work, given up after a moment: the server stops too.
async function changeOfMind(client) {
  const rand = (...values) => ({ op: 'rand', inputs: [0], attrs: { shape: { intsValue: { values } } } });
  const layers = Array.from({ length: 50 }, (_, i) => ({ op: 'mm', inputs: [i ? i + 2 : 1, 2] }));
  const long = {
    inputs: [{ dtype: 'int64' }],
    nodes: [rand(200_000, 256), rand(256, 256), ...layers, { op: 'sum', inputs: [52] }],
    outputs: [53],
  };
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 500);
  const call = client.call('compute', { graph: long, inputs: [tensor(BigInt64Array.of(0n), [])] }, controller);
  const error = await call.then(assert.fail, (e) => e);
  assert.equal(error.code, grpc.status.CANCELLED);
  for (let wait = 0; ; wait += 20) {
    if ((await client.call('getServerInfo', {})).requestsRunning === 0) return;
    assert(wait < 10_000, 'the server still works on a cancelled call');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function main() {
  const client = new Client(process.argv[2] ?? '127.0.0.1:50051');
  const truth = Array.from({ length: FEATURES }, (_, i) => (i - 4.5) / 5);
  const data = makeData(truth);
  const [x, y] = await Promise.all([client.upload(data.x), client.upload(data.y)]);
  console.log(`uploaded ${data.x.data.length + data.y.data.length} bytes: ${x.toString('hex')}, ${y.toString('hex')}`);

  const { step, loss, norm, weights } = await train(client, x, y);
  const off = Math.max(...truth.map((weight, i) => Math.abs(weight - weights[i])));
  console.log(`converged in ${step} steps: loss ${loss.toFixed(4)}, gradient ${norm.toExponential(1)}, off by ${off.toFixed(3)}`);
  assert(off < 0.05, 'the weights are not those the data were made with');

  const detail = await mistake(client, x, y);
  console.log(`${detail.error} at node ${detail.node} (${detail.op}, ${detail.source}): ${detail.message}; ${detail.remedy}`);

  await changeOfMind(client);
  console.log('cancelled');
}

main().catch((error) => {
  console.error(error.detail ?? error);
  process.exit(1);
});
