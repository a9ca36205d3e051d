/**
 * The page's side of negotiations for another process: one JSON line in, one out.
 *
 * In: `{"new": [me, other, negotiation, replaces]}` or `{"do": method, "with": [arguments]}`; out: what the method
 * returned, and everything else that the machine says of itself. tests/protocol/test_two_languages.py drives it.
 */
import { createInterface } from "node:readline";
import { Negotiation } from "../../client/negotiation.js";

/** @type {any} */
let end = null;
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  let result = null;
  if (request.new) end = new Negotiation(.../** @type {[string, string, string, string[]]} */ (request.new));
  else result = end[request.do](...request.with) ?? null;
  const { has, heard, settled } = end;
  const state = { result, has, heard, settled, deadline: end.nextDeadline(), leaves: end.leaves() };
  process.stdout.write(`${JSON.stringify(state)}\n`);
}
