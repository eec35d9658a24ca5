// The provider's memory: sessions, grants and tokens in one JSON file, so that a restart signs nobody out.

import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";

const GRANTABLE = new Set(["AccessToken", "AuthorizationCode", "RefreshToken"]);

const now = () => Math.floor(Date.now() / 1000);

/** One table of `{payload, expiresAt}` by `Model:id`, written through to `path` at every change. */
export class FileStore {
  constructor(path) {
    this.path = path;
    this.rows = new Map(existsSync(path) ? Object.entries(JSON.parse(readFileSync(path, "utf8"))) : []);
  }

  get(key) {
    const row = this.rows.get(key);
    return row && row.expiresAt > now() ? row.payload : undefined;
  }

  set(key, payload, expiresIn) {
    this.rows.set(key, { payload, expiresAt: now() + (expiresIn ?? 365 * 86400) });
    this.save();
  }

  delete(keys) {
    keys.forEach((key) => this.rows.delete(key));
    this.save();
  }

  find(model, wanted) {
    return [...this.rows.keys()].filter((key) => key.startsWith(`${model}:`) && wanted(this.get(key) ?? {}));
  }

  // Written synchronously and renamed into place: a killed provider leaves the old file or the new one.
  save() {
    for (const [key, row] of this.rows) if (row.expiresAt <= now()) this.rows.delete(key);
    const draft = `${this.path}.new`;
    writeFileSync(draft, JSON.stringify(Object.fromEntries(this.rows)), { mode: 0o600 });
    renameSync(draft, this.path);
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
