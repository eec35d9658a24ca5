// Comfort only: every page works without this file.
"use strict";

function count(area) {
  const place = document.getElementById(area.dataset.counter);
  const show = () => {
    const left = area.maxLength - area.value.length;
    place.textContent = `${area.value.length} of ${area.maxLength} characters` + (left < 100 ? `, ${left} left` : "");
  };
  area.addEventListener("input", show);
  show();
}

// A second press while the first is on its way would only meet a refusal; spare people that page.
function pressOnce(form) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "yes";
    for (const button of form.querySelectorAll("button")) button.setAttribute("aria-disabled", "true");
  });
}

document.querySelectorAll("textarea[data-counter]").forEach(count);
document.querySelectorAll("form[method=post]").forEach(pressOnce);

// What came of a form is where who sent it goes on: what is wrong with it before all.
(document.querySelector("[role=alert][data-focus]") ?? document.querySelector("[data-focus]"))?.focus();

// A page that waits for something looks again by itself, but takes the focus from nobody who uses it.
const waiting = document.querySelector("[data-reload]");
if (waiting) {
  setInterval(() => {
    if (!document.activeElement?.closest("a, button, input")) location.reload();
  }, Number(waiting.dataset.reload));
}

// Pages that come back by the Back button must be pressable again.
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
    for (const button of form.querySelectorAll("button")) button.removeAttribute("aria-disabled");
  }
});
