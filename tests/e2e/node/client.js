// node client.js ADDRESS PROTOS ROWS: predicts rows (a JSON file, rows of numbers) by Predict, ModelInfer and
// ModelStreamInfer, and prints what came back as JSON.
const fs = require("fs");
const path = require("path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [address, protos, file] = process.argv.slice(2);
const rows = JSON.parse(fs.readFileSync(file));
const options = { longs: Number, keepCase: true, includeDirs: [protos] };
const load = (name) => grpc.loadPackageDefinition(loader.loadSync(path.join(protos, name), options));
const credentials = grpc.credentials.createInsecure();
const prediction = new (load("serval_protos/v1/prediction.proto").serval.v1.PredictionService)(address, credentials);
const inference = new (load("serval_protos/inference/open_inference.proto").inference.GRPCInferenceService)(
  address,
  credentials
);

const called = (client, method, request) =>
  new Promise((resolve, reject) => {
    const deadline = new Date(Date.now() + 30000);
    client[method](request, { deadline }, (error, reply) => (error ? reject(error) : resolve(reply)));
  });

const asked = (batch, id) => ({
  model_name: "cancer",
  id,
  inputs: [{ name: "X", datatype: "FP32", shape: [batch.length, batch[0].length] }],
  raw_input_contents: [Buffer.from(Float32Array.from(batch.flat()).buffer)],
});

const labels = (reply) => {
  const octets = reply.raw_output_contents[0];
  return Array.from({ length: octets.length / 8 }, (_, i) => Number(octets.readBigInt64LE(8 * i)));
};

const streamed = () =>
  new Promise((resolve, reject) => {
    const stream = inference.ModelStreamInfer();
    const replies = [];
    stream.on("data", (reply) => replies.push(reply.infer_response));
    stream.on("error", reject);
    stream.on("end", () => resolve(replies));
    rows.forEach((row, i) => stream.write(asked([row], String(i))));
    stream.end();
  });

async function main() {
  const each = await Promise.all(rows.map((row) => called(prediction, "Predict", { model: "cancer", values: row })));
  const whole = await called(inference, "ModelInfer", asked(rows, "whole"));
  const replies = await streamed();
  const missing = await called(prediction, "Predict", { model: "nobody", values: rows[0] }).catch((error) => error);
  console.log(
    JSON.stringify({
      predicted: each.map((reply) => Number(reply.outputs[0].integers[0])),
      inferred: labels(whole),
      id: whole.id,
      streamed: replies.map((reply) => labels(reply)[0]),
      ids: replies.map((reply) => reply.id),
      missing: missing.code,
    })
  );
  prediction.close();
  inference.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
