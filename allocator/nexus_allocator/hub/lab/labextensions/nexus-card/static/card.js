// The card in JupyterLab's top bar: what is left on the account, when the server ends, and a Stop button;
// and a banner when an award runs out. Written as the module container that JupyterLab loads, so that it
// needs no build: `init` is handed JupyterLab's shared modules, `get` gives the plugin.
"use strict";

(() => {
  const AGAIN_MS = 15_000;
  const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: "UTC" });
  const style = new URL("card.css", document.currentScript.src);
  let shared = {};
  // The team whose own server this is, null in a person's.
  let team = null;

  const take = async (name) => (await Object.values(shared[name])[0].get())();
  const at = (moment) => `${CLOCK.format(new Date(moment))} UTC`;

  function element(tag, className, text = "") {
    const made = document.createElement(tag);
    made.className = className;
    made.textContent = text;
    return made;
  }

  // What the page warns of: an award that runs out, or planned hours that are over.
  function warning(card) {
    if (card.stopping) return { urgent: true, text: "This server is being stopped." };
    if (card.notice?.stops_at) return { urgent: true, text: card.notice.sentence };
    if (Date.now() >= Date.parse(card.planned_until)) {
      return { urgent: true, text: `The planned hours are over. Save your work now: this server is stopped at ${at(card.until)}.` };
    }
    return card.notice ? { urgent: false, text: card.notice.sentence } : null;
  }

  // What administrators announce, the loudest first; it stands below the warning of this server's own.
  function news(card) {
    const told = card.announcements ?? [];
    return { urgent: told.some((each) => each.level === "urgent"), text: told.map((each) => each.text).join("\n") };
  }

  function describe(card) {
    return `${card.left} credits left, until ${at(card.planned_until)}`;
  }

  async function activate(app) {
    const [{ Widget }, { Dialog, showDialog }, { ServerConnection }] = await Promise.all(
      ["@lumino/widgets", "@jupyterlab/apputils", "@jupyterlab/services"].map(take),
    );
    const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href: style });
    document.head.append(link);
    const settings = app.serviceManager.serverSettings;
    const ask = (path, method) => ServerConnection.makeRequest(`${settings.baseUrl}nexus/${path}`, { method }, settings);

    const figures = element("span", "nexus-card__figures");
    const button = element("button", "nexus-card__stop jp-mod-styled", "Stop server");
    button.type = "button";
    const node = element("div", "nexus-card");
    node.append(figures, button);
    const place = new Widget({ node });
    place.id = "nexus-card";
    app.shell.add(place, "top", { rank: 900 });

    const sentence = element("p", "nexus-banner__sentence");
    // Always there, so that a screen reader hears what is put into it.
    const live = element("div", "nexus-banner");
    live.setAttribute("role", "alert");
    const announced = element("p", "nexus-banner__sentence nexus-banner__news");
    live.append(sentence, announced);
    const banner = new Widget({ node: live });
    banner.id = "nexus-banner";
    banner.hide();
    app.shell.add(banner, "header");

    function show(card) {
      team = card.team ?? null;
      figures.textContent = describe(card);
      figures.title = `${card.account}: ${card.left} credits left. Planned until ${at(card.planned_until)}, stopped at ${at(card.until)} at the latest.`;
      const told = warning(card);
      const latest = news(card);
      banner.setHidden(!told && !latest.text);
      live.classList.toggle("nexus-banner--urgent", Boolean(told?.urgent) || latest.urgent);
      if (announced.textContent !== latest.text) announced.textContent = latest.text;
      if (sentence.textContent !== (told?.text ?? "")) sentence.textContent = told?.text ?? "";
    }

    async function look() {
      try {
        const answer = await ask("card", "GET");
        const body = await answer.json();
        if (answer.ok) show(body);
        else figures.textContent = answer.status === 503 ? "Balance unknown just now" : body.message;
      } catch {
        figures.textContent = "Balance unknown just now";
      }
    }

    // Why the server was not stopped, null when it was: one that ends at once may not answer any more,
    // and then nobody answers, or the proxy does.
    async function refused() {
      try {
        const answer = await ask("stop", "POST");
        return answer.ok ? null : ((await answer.json()).message ?? null);
      } catch {
        return null;
      }
    }

    async function stop() {
      const sure = await showDialog({
        title: team ? "Stop the server for everybody?" : "Stop this server?",
        body: `Running notebooks${team ? " of all who are in it" : ""} end; saved files stay. What was set aside and not used goes back to the account.`,
        buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: team ? "Stop it for everybody" : "Stop server" })],
      });
      if (!sure.button.accept) return;
      button.disabled = true;
      button.textContent = "Stopping…";
      const refusal = await refused();
      if (refusal === null) {
        const page = JSON.parse(document.getElementById("jupyter-config-data").textContent);
        location.assign(`${page.hubPrefix || "/hub/"}${team ? `nexus/team/${team}` : "home"}`);
        return;
      }
      button.disabled = false;
      button.textContent = "Stop server";
      await showDialog({ title: "Not stopped", body: refusal, buttons: [Dialog.okButton()] });
    }

    button.addEventListener("click", stop);
    await look();
    setInterval(look, AGAIN_MS);
  }

  const plugin = { id: "nexus-card:card", description: "Balance and Stop button", autoStart: true, activate };
  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB["nexus-card"] = {
    init: (scope) => { shared = scope; },
    get: async () => () => ({ __esModule: true, default: plugin }),
  };
})();
