// The provider's own pages, in the look of the Nexus.

const escape = (text) =>
  String(text).replace(/[&<>"']/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" })[c]);

const initials = (name) => name.split(/\s+/).map((word) => word[0]).slice(0, 2).join("").toUpperCase();

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
<p class="brand"><span aria-hidden="true" class="mark"></span>Roman Research Nexus</p>
${body}
</main>
</body>
</html>`;
}

function personButton(person) {
  return `<li><button type="submit" name="subject" value="${escape(person.subject)}">
<span class="avatar" aria-hidden="true">${escape(initials(person.name))}</span>
<span class="who"><strong>${escape(person.name)}</strong>
<span class="detail">${escape(person.preferred_username)}${person.about ? ` · ${escape(person.about)}` : ""}</span></span>
</button></li>`;
}

/** The page on which a demo identity is chosen; `action` takes the choice. */
export function signInPage(people, action) {
  return page(
    "Sign in",
    `<h1>Who are you?</h1>
<p class="note"><strong>Local demo sign-in.</strong> This page stands in for your institution’s sign-in on this one machine.
There are no passwords: choose an identity to continue.</p>
<form method="post" action="${escape(action)}"><ul>${people.map(personButton).join("\n")}</ul></form>`,
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
