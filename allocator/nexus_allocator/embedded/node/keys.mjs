// The provider's keys, made once and kept beside the other secrets.

import { generateKeyPairSync, randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";

function makeKeys() {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const signing = { ...privateKey.export({ format: "jwk" }), alg: "RS256", use: "sig", kid: randomBytes(8).toString("hex") };
  return { jwks: { keys: [signing] }, cookies: [randomBytes(32).toString("hex")] };
}

/** Return `{jwks, cookies}` from `path`; new keys would end every session, so they are made only where none are. */
export function loadKeys(path) {
  if (!existsSync(path)) writeFileSync(path, JSON.stringify(makeKeys()), { mode: 0o600 });
  return JSON.parse(readFileSync(path, "utf8"));
}
