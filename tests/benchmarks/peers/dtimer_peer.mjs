// npm dtimer: max_events as PEER_CONCURRENCY says, each event confirmed.
import { createRequire } from "node:module";
import { concurrency, main, note, padding, untilDue, url } from "./peer.mjs";

const require = createRequire(process.env.PEER_MODULES);
const { DTimer } = require("dtimer");
// The client that it depends on, whose methods it has given promises.
const { createClient } = require(require.resolve("redis", { paths: [require.resolve("dtimer")] }));
const client = () => createClient(Number(url.port), url.hostname);

function work() {
  const timer = new DTimer("bench", client(), client(), { maxEvents: concurrency, confTimeout: 10 });
  timer.on("event", (event) => {
    note(event.due);
    timer.confirm(event.id, (error) => error && console.error(error));
  });
  timer.on("error", console.error);
  timer.join((error) => error && console.error(error));
}

async function post(instants) {
  const timer = new DTimer("bench", client(), null);
  for (const due of instants)
    await new Promise((resolve, reject) =>
      timer.post({ due, text: padding(), maxRetries: 20 }, untilDue(due), (error) => (error ? reject(error) : resolve())));
}

async function bulk(instants) {
  const timer = new DTimer("bench", client(), null);
  for (let first = 0; first < instants.length; first += 500)
    await Promise.all(instants.slice(first, first + 500).map((due) => new Promise((resolve, reject) =>
      timer.post({ due, text: padding(), maxRetries: 20 }, untilDue(due), (error) => (error ? reject(error) : resolve())))));
}

main({ work, post, bulk });
