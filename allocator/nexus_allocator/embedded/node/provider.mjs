// The local sign-in provider: a certified OpenID Connect library with a page that lists the demo identities.
// Usage: node provider.mjs <configuration file>, written by the parent (see embedded/provider.py).

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";

import { Provider } from "oidc-provider";

import { loadKeys } from "./keys.mjs";
import { buttonsOf, errorPage, signedOutPage, signInPage, signOutPage } from "./pages.mjs";
import { adapterOver, FileStore } from "./store.mjs";

const FORTNIGHT = 14 * 86400;
const ASSETS = { "provider.css": "text/css", "sign-out.js": "text/javascript" };
const SAFE_HEADERS = {
  "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'",
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
};

const settings = JSON.parse(readFileSync(process.argv[2], "utf8"));
const people = JSON.parse(readFileSync(settings.people_file, "utf8"));
const store = new FileStore(join(settings.state_dir, "provider-state.jsonl"));
const buttons = buttonsOf(people);
const keys = loadKeys(join(settings.state_dir, "provider-keys.json"));
const person = (subject) => people.find((candidate) => candidate.subject === subject);

function account(subject) {
  const found = person(subject);
  if (!found) return undefined;
  const { about, subject: sub, ...claims } = found;
  return { accountId: sub, claims: async () => ({ sub, ...claims, email_verified: true }) };
}

// The Nexus is the provider's own client: nobody is asked to consent to signing in to it.
async function grantAll(ctx) {
  const { client, session, params } = ctx.oidc;
  const known = session.grantIdFor(client.clientId);
  const grant = (known && (await ctx.oidc.provider.Grant.find(known)))
    ?? new ctx.oidc.provider.Grant({ clientId: client.clientId, accountId: session.accountId });
  grant.addOIDCScope(params.scope);
  await grant.save();
  return grant;
}

function html(ctx, body, status = 200) {
  ctx.status = status;
  ctx.type = "html";
  ctx.set(SAFE_HEADERS);
  ctx.body = body;
}

const provider = new Provider(settings.issuer, {
  adapter: adapterOver(store),
  clients: [
    {
      client_id: settings.client.id,
      client_secret: settings.client.secret,
      client_name: "Roman Research Nexus",
      redirect_uris: [settings.client.redirect_uri],
      post_logout_redirect_uris: [settings.client.post_logout_redirect_uri],
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      id_token_signed_response_alg: "RS256",
      token_endpoint_auth_method: "client_secret_basic",
    },
  ],
  jwks: keys.jwks,
  cookies: { keys: keys.cookies, names: { session: "nexus_idp", interaction: "nexus_idp_step", resume: "nexus_idp_resume" } },
  claims: { openid: ["sub"], profile: ["name", "preferred_username"], email: ["email", "email_verified"], groups: ["groups"] },
  scopes: ["openid", "offline_access", "profile", "email", "groups"],
  responseTypes: ["code"],
  pkce: { required: () => true },
  findAccount: (ctx, subject) => account(subject),
  loadExistingGrant: grantAll,
  // Refresh tokens are bound to the browser session, so that signing out ends them too.
  issueRefreshToken: async (ctx, client) => client.grantTypeAllowed("refresh_token"),
  rotateRefreshToken: true,
  ttl: {
    AccessToken: settings.access_token_ttl_s,
    AuthorizationCode: 60,
    Grant: FORTNIGHT,
    IdToken: 3600,
    Interaction: 3600,
    RefreshToken: FORTNIGHT,
    Session: FORTNIGHT,
  },
  interactions: { url: (ctx, interaction) => `/sign-in/${interaction.uid}` },
  features: {
    devInteractions: { enabled: false },
    revocation: { enabled: true },
    rpInitiatedLogout: {
      enabled: true,
      logoutSource: (ctx, form) => html(ctx, signOutPage(form)),
      postLogoutSuccessSource: (ctx) => html(ctx, signedOutPage(settings.home)),
    },
  },
  renderError: (ctx, out) => html(ctx, errorPage(out, settings.home), ctx.status),
});

function sendAsset(response, name) {
  if (!ASSETS[name]) return response.writeHead(404).end();
  response.writeHead(200, { "Content-Type": `${ASSETS[name]}; charset=utf-8`, ...SAFE_HEADERS });
  return response.end(readFileSync(new URL(`./assets/${name}`, import.meta.url)));
}

async function readForm(request) {
  const chunks = [];
  for await (const chunk of request) {
    chunks.push(chunk);
    if (chunks.length > 64) throw new Error("The form is too long.");
  }
  return new URLSearchParams(Buffer.concat(chunks).toString("utf8"));
}

async function signIn(request, response) {
  const interaction = await provider.interactionDetails(request, response);
  if (request.method !== "POST") {
    response.writeHead(200, { "Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store", ...SAFE_HEADERS });
    return response.end(signInPage(buttons, `/sign-in/${interaction.uid}`));
  }
  const chosen = person((await readForm(request)).get("subject"));
  if (!chosen) throw new Error("That is not one of the demo identities.");
  return provider.interactionFinished(request, response, { login: { accountId: chosen.subject } });
}

function fail(response, error) {
  response.writeHead(error.statusCode ?? 400, { "Content-Type": "text/html; charset=utf-8", ...SAFE_HEADERS });
  response.end(errorPage(error, settings.home));
}

provider.use(async (ctx, next) => {
  await next();
  if (ctx.status === 404 && !ctx.body) html(ctx, errorPage({ error: "not_found", message: "There is no such page here." }, settings.home), 404);
});

const library = provider.callback();
const server = createServer((request, response) => {
  const { pathname } = new URL(request.url, settings.issuer);
  if (pathname.startsWith("/assets/")) return sendAsset(response, pathname.slice("/assets/".length));
  if (pathname === "/") return response.writeHead(302, { Location: settings.home }).end();
  if (pathname.startsWith("/sign-in/") && ["GET", "POST"].includes(request.method)) {
    return signIn(request, response).catch((error) => fail(response, error));
  }
  return library(request, response);
});
provider.on("server_error", (ctx, error) => console.error("server error", error));
server.listen(settings.port, "127.0.0.1", () => console.log(`sign-in provider ready at ${settings.issuer}`));
