/** Node 18 has no `crypto` of browsers as a global; import this before a module that uses it. */
import { webcrypto } from "node:crypto";

globalThis.crypto ??= /** @type {Crypto} */ (webcrypto);
