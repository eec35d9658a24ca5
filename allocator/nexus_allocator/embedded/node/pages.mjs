// The provider's own pages, in the look of the Nexus.

const WORDMARK = `<svg viewBox="0 0 55 40" aria-hidden="true" focusable="false"><defs>
<linearGradient id="heat" x1="0" x2="1" y1="0" y2="0.35"><stop offset="0" stop-color="#8f6bd6"/><stop offset="0.4" stop-color="#e0518f"/>
<stop offset="0.75" stop-color="#f0774a"/><stop offset="1" stop-color="#f9c06b"/></linearGradient></defs>
<path fill="url(#heat)" d="M1 9h7v7H1zM1 19h7v7H1zM1 29h7v7H1zM10 6h7v7h-7zM10 16h7v7h-7zM10 26h7v7h-7zM19 4h7v7h-7zM19 14h7v7h-7zM19 24h7v7h-7zM28 4h7v7h-7zM28 14h7v7h-7zM28 24h7v7h-7zM37 6h7v7h-7zM37 16h7v7h-7zM37 26h7v7h-7zM46 9h7v7h-7zM46 19h7v7h-7zM46 29h7v7h-7z"/></svg>`;

const escape = (text) =>
  String(text).replace(/[&<>"']/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" })[c]);

function page(title, body) {
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escape(title)} · Roman Research Nexus</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/assets/provider.css">
</head>
<body>
<main>
<p class="brand">${WORDMARK}<span>Roman Research Nexus</span></p>
${body}
</main>
</body>
</html>`;
}

function personButton(person) {
  return `<li><button type="submit" name="subject" value="${escape(person.subject)}">
<span class="avatar" aria-hidden="true">${escape(person.name.slice(0, 2))}</span>
<span class="who"><strong>${escape(person.name)}</strong>
<span class="detail">${escape(person.preferred_username)}${person.about ? ` · ${escape(person.about)}` : ""}</span></span>
</button></li>`;
}

/** The list of demo identities, for each sign-in page. */
export const buttonsOf = (people) => people.map(personButton).join("\n");

/** The page on which a demo identity is chosen; `action` takes the choice. */
export function signInPage(buttons, action) {
  return page(
    "Sign in",
    `<h1>Who are you?</h1>
<p class="note"><strong>Local demo sign-in.</strong> This page stands in for your institution’s sign-in on this one machine.
There are no passwords: choose an identity to continue.</p>
<form method="post" action="${escape(action)}"><ul>${buttons}</ul></form>`,
  );
}

/** The step between asking to sign out and being signed out; it submits itself where scripts run. */
export function signOutPage(form) {
  return page(
    "Sign out",
    `<h1>Signing you out</h1>
${form}
<button class="primary" type="submit" form="op.logoutForm" name="logout" value="yes">Sign out</button>
<script src="/assets/sign-out.js"></script>`,
  );
}

export function signedOutPage(home) {
  return page("Signed out", `<h1>You are signed out</h1><p><a class="primary" href="${escape(home)}">Sign in again</a></p>`);
}

export function errorPage(error, home) {
  return page(
    "Sign-in stopped",
    `<h1>Sign-in stopped</h1>
<p role="alert">${escape(error.error_description ?? error.message)}</p>
<p class="note">Error code: ${escape(error.error ?? "error")}. Nothing was changed; start again from the Nexus.</p>
<p><a class="primary" href="${escape(home)}">Back to the Nexus</a></p>`,
  );
}
