// Live figures for the launch page: what is set aside, what stays, how long the balance lasts.
// The page works without this script; the server judges every launch.
"use strict";

(() => {
  const form = document.querySelector(".launch");
  if (!form) return;
  const MICRO = 1_000_000;
  const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "long", year: "numeric", timeZone: "UTC" });
  const box = form.querySelector(".launch-estimate");
  const hours = form.querySelector("#hours");
  const graceHours = Number(form.dataset.graceMinutes) / 60;
  const usual = box.querySelector('[data-figure="verdict"]').textContent;

  // Rounded as the service does: what is left never looks larger than it is, what is needed never smaller.
  const credits = (micro, round = Math.trunc) => {
    const places = micro !== 0 && Math.abs(micro) < MICRO / 10 ? 3 : 2;
    const step = MICRO / 10 ** places;
    const amount = (round(micro / step) * step) / MICRO;
    return amount.toLocaleString("en-GB", { minimumFractionDigits: places, maximumFractionDigits: places });
  };

  const show = (name, text) => { box.querySelector(`[data-figure="${name}"]`).textContent = text; };

  // When a server at this rate, left running, would have used up what is free.
  const lastsUntil = (available, rate, ends) => {
    if (!rate) return "the days of grace end";
    const until = Date.now() + (Math.max(available, 0) / rate) * 3_600_000;
    return ends && until >= Date.parse(ends) ? "the allocation ends" : DAY.format(until);
  };

  const whatFits = (size, available) => {
    const quarters = Math.floor((available / size.dataset.rate - graceHours) * 4);
    if (quarters < 1) return `No ${size.dataset.label} server fits.`;
    return `A ${size.dataset.label} server for ${Math.min(quarters / 4, Number(hours.max))} h would fit.`;
  };

  function update() {
    const account = form.querySelector('input[name="account"]:checked');
    for (const group of form.querySelectorAll("[data-sizes-of]")) {
      const off = group.dataset.sizesOf !== account?.value;
      group.toggleAttribute("data-off", off);
      group.disabled = off;
    }
    const size = account && form.querySelector(`input[name="size-${CSS.escape(account.value)}"]:checked`);
    const planned = Number(hours.value);
    if (!size || !(planned > 0)) return;
    const available = Number(account.dataset.available);
    const rate = Number(size.dataset.rate);
    const hold = Math.ceil(rate * (planned + graceHours) - 1e-6);
    const fits = hold <= available;
    box.dataset.fits = fits ? "yes" : "no";
    show("hold", credits(hold, Math.ceil));
    show("left", credits(available - hold));
    show("until", lastsUntil(available, rate, account.dataset.ends));
    show("verdict", fits ? usual : `Needs ${credits(hold, Math.ceil)} credits, ${credits(available)} are free. ${whatFits(size, available)}`);
  }

  form.classList.add("launch--live");
  form.addEventListener("input", update);
  form.closest("form").addEventListener("submit", () => {
    const button = form.querySelector(".launch-start");
    // Disabled after the submission was taken up, or the browser would drop it.
    setTimeout(() => { button.disabled = true; button.textContent = "Starting…"; });
  });
  // A page brought back by the Back button must not show a dead button.
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  update();
})();
