// The provider's memory: sessions, grants and tokens in one journal, so that a restart signs nobody out.

import { appendFileSync, existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";

const GRANTABLE = new Set(["AccessToken", "AuthorizationCode", "RefreshToken"]);
// The journal is written anew when most of its lines are of rows that have changed since.
const LINES_PER_ROW = 4;
const LINES_AT_LEAST = 1000;

const now = () => Math.floor(Date.now() / 1000);
const lineOf = (key, row) => `${JSON.stringify([key, row])}\n`;

/** One table of `{payload, expiresAt}` by `Model:id`; each change is one more line of the file at `path`. */
export class FileStore {
  constructor(path) {
    this.path = path;
    this.rows = new Map();
    // A provider that was killed may have left half a line, which is the last.
    const lines = existsSync(path) ? readFileSync(path, "utf8").split("\n").slice(0, -1) : [];
    for (const line of lines) this.take(...JSON.parse(line));
    this.rewrite();
  }

  get(key) {
    const row = this.rows.get(key);
    return row && row.expiresAt > now() ? row.payload : undefined;
  }

  set(key, payload, expiresIn) {
    this.write(key, { payload, expiresAt: now() + (expiresIn ?? 365 * 86400) });
  }

  delete(keys) {
    for (const key of keys) this.write(key, null);
  }

  find(model, wanted) {
    return [...this.rows.keys()].filter((key) => key.startsWith(`${model}:`) && wanted(this.get(key) ?? {}));
  }

  take(key, row) {
    if (row) this.rows.set(key, row);
    else this.rows.delete(key);
  }

  write(key, row) {
    this.take(key, row);
    appendFileSync(this.path, lineOf(key, row));
    this.lines += 1;
    if (this.lines > LINES_AT_LEAST + LINES_PER_ROW * this.rows.size) this.rewrite();
  }

  // Renamed into place: a killed provider leaves the old file or the new one.
  rewrite() {
    for (const [key, row] of this.rows) if (row.expiresAt <= now()) this.rows.delete(key);
    const draft = `${this.path}.new`;
    writeFileSync(draft, [...this.rows].map(([key, row]) => lineOf(key, row)).join(""), { mode: 0o600 });
    renameSync(draft, this.path);
    this.lines = this.rows.size;
  }
}

/** The adapter class that oidc-provider asks for, over one shared store. */
export function adapterOver(store) {
  return class Adapter {
    constructor(model) {
      this.model = model;
    }

    async upsert(id, payload, expiresIn) {
      store.set(`${this.model}:${id}`, payload, expiresIn);
    }

    async find(id) {
      return store.get(`${this.model}:${id}`);
    }

    async findByUid(uid) {
      const [key] = store.find(this.model, (payload) => payload.uid === uid);
      return key && store.get(key);
    }

    async findByUserCode() {
      return undefined;
    }

    async consume(id) {
      const key = `${this.model}:${id}`;
      const row = store.rows.get(key);
      if (row) store.set(key, { ...row.payload, consumed: now() }, row.expiresAt - now());
    }

    async destroy(id) {
      store.delete([`${this.model}:${id}`]);
    }

    async revokeByGrantId(grantId) {
      const members = [...GRANTABLE].flatMap((model) => store.find(model, (row) => row.grantId === grantId));
      store.delete(members);
    }
  };
}
