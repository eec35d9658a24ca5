// Follows the hub's progress events and goes on to the server when it is ready.
"use strict";

(() => {
  const card = document.querySelector("[data-progress-url]");
  const bar = card.querySelector(".pending-bar");
  const message = document.getElementById("pending-message");
  const log = document.getElementById("pending-log");
  const events = new EventSource(card.dataset.progressUrl);

  events.onmessage = (event) => {
    const step = JSON.parse(event.data);
    if (step.progress !== undefined) bar.value = step.progress;
    if (step.message) {
      message.textContent = step.message;
      log.append(Object.assign(document.createElement("li"), { textContent: step.message }));
    }
    if (step.ready || step.failed) events.close();
    // The page itself knows where to go, and tells of a refusal in full.
    if (step.ready || step.failed) location.reload();
  };
})();
