// BullMQ, with its defaults; jobs are removed when they are done.
import { createRequire } from "node:module";
import { begin, concurrency, main, note, padding, untilDue, url } from "./peer.mjs";

const require = createRequire(process.env.PEER_MODULES);
const { Queue, Worker } = require("bullmq");
const connection = { port: Number(url.port), host: url.hostname, maxRetriesPerRequest: null };
const job = (due) => ({
  name: "note",
  data: { due, text: padding() },
  opts: { delay: untilDue(due), removeOnComplete: true },
});

function work() {
  new Worker("bench", async (found) => note(found.data.due), { connection, concurrency });
}

async function post(instants) {
  const queue = new Queue("bench", { connection });
  await queue.waitUntilReady();
  begin();
  for (const due of instants) {
    const { name, data, opts } = job(due);
    await queue.add(name, data, opts);
  }
}

async function bulk(instants) {
  const queue = new Queue("bench", { connection });
  await queue.waitUntilReady();
  begin();
  for (let first = 0; first < instants.length; first += 1000)
    await queue.addBulk(instants.slice(first, first + 1000).map(job));
}

main({ work, post, bulk });
