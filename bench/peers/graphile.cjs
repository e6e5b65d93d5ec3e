// graphile-worker, set for throughput: a local queue, and jobs completed in batches.
//
//   node graphile.cjs reset | submit N | submit-many N | drain N      prints {"seconds": ...}
//
// Finished jobs are deleted: neither results nor a history remain.

const { Logger, makeWorkerUtils, run } = require("graphile-worker");
const { Client } = require("pg");

const BATCH = 1000;
const schema = "peers_graphile";
const payload = { payload: "x".repeat(185) };
const preset = {
  worker: {
    connectionString: process.env.DATABASE_URL,
    schema,
    logger: new Logger(() => () => {}),
    maxPoolSize: 10,
    concurrentJobs: 24,
    localQueue: { size: 500 },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
  },
};
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const secondsSince = (began) => (performance.now() - began) / 1000;

async function withClient(act) {
  const client = new Client(process.env.DATABASE_URL);
  await client.connect();
  try {
    return await act(client);
  } finally {
    await client.end();
  }
}

async function withUtils(act) {
  const utils = await makeWorkerUtils({ preset });
  try {
    return await act(utils);
  } finally {
    await utils.release();
  }
}

async function reset() {
  await withClient((client) => client.query(`DROP SCHEMA IF EXISTS ${schema} CASCADE`));
  await withUtils((utils) => utils.migrate());
}

const submit = (jobs) =>
  withUtils(async (utils) => {
    const began = performance.now();
    for (let n = 0; n < jobs; n++) await utils.addJob("noop", payload);
    return secondsSince(began);
  });

const submitMany = (jobs) =>
  withUtils(async (utils) => {
    const batch = (size) => Array.from({ length: size }, () => ({ identifier: "noop", payload }));
    const began = performance.now();
    for (let n = 0; n < jobs; n += BATCH) await utils.addJobs(batch(Math.min(BATCH, jobs - n)));
    return secondsSince(began);
  });

// From the first call of the handler until the table is empty.
const drain = (jobs) =>
  withClient(async (client) => {
    let handled = 0;
    let began;
    const noop = async () => {
      began ??= performance.now();
      handled += 1;
    };
    const runner = await run({ preset, taskList: { noop }, noHandleSignals: true });
    while (handled < jobs) await pause(10);
    const left = `SELECT 1 FROM ${schema}._private_jobs LIMIT 1`;
    while ((await client.query(left)).rowCount > 0) await pause(10);
    const seconds = secondsSince(began);
    await runner.stop();
    if (handled !== jobs) throw new Error(`${handled} calls for ${jobs} jobs`);
    return seconds;
  });

async function main([verb, count]) {
  const verbs = { reset, submit, "submit-many": submitMany, drain };
  const seconds = await verbs[verb](Number(count));
  console.log(JSON.stringify({ seconds: seconds ?? null }));
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
