// The same for Node.js: NAME.mjs work | post | at | bulk, see peer.py.
import { openSync, readFileSync, writeSync } from "node:fs";

export const url = new URL(process.env.PEER_REDIS ?? "redis://127.0.0.1:6379");
export const concurrency = Number(process.env.PEER_CONCURRENCY ?? 8);
const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const readme = new URL("../../../README.md", import.meta.url);
const words = process.env.PEER_TEXT === "words" ? readFileSync(readme, "utf8").split(/\s+/) : [];
let notes;
let began;

export function note(due) {
  notes ??= openSync(process.env.PEER_NOTES, "a");
  const now = Date.now() / 1000;
  writeSync(notes, `${now} ${now - due}\n`);
}

export function padding() {
  let text = "";
  while (words.length && text.length < 200) text += `${text && " "}${words[Math.floor(Math.random() * words.length)]}`;
  if (words.length) return text.slice(0, 200);
  for (let i = 0; i < 200; i++) text += letters[Math.floor(Math.random() * letters.length)];
  return text;
}

export const untilDue = (due) => Math.max(0, Math.ceil(due * 1000 - Date.now()));

// Start the clock: there is a connection.
export function begin() {
  began = process.hrtime.bigint();
}

export async function main({ work, post, bulk }) {
  const what = process.argv[2];
  if (what === "work") return work();
  const instants = readFileSync(0, "utf8").trim().split("\n").map(Number);
  const chosen = { post, at: post, bulk }[what];
  began = process.hrtime.bigint();
  await chosen(instants);
  console.log(instants.length / (Number(process.hrtime.bigint() - began) / 1e9));
  process.exit(0);
}
