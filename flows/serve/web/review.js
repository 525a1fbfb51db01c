"use strict";
// Keys press the page's own buttons; e, then a or b, opens that answer for editing.
const form = document.getElementById("verdict");
let choosing = false;

function choose(on) {
  choosing = on;
  form.classList.toggle("choosing", on);
}

function openEdit(side) {
  const edit = form.querySelector(`details[data-side="${side}"]`);
  edit.open = true;
  edit.querySelector("textarea").focus();
  edit.scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.key === "Escape") {
    form.querySelectorAll("details[open]").forEach((edit) => { edit.open = false; });
    document.activeElement.blur();
    choose(false);
    return;
  }
  if (event.target.closest("textarea, input")) return;
  const key = event.key.toLowerCase();
  if (choosing && (key === "a" || key === "b")) {
    event.preventDefault();
    choose(false);
    openEdit(key);
    return;
  }
  choose(key === "e" && form.querySelector("details.edit") !== null);
  const button = /^[a-z]$/.test(key) && form.querySelector(`button[data-key="${key}"]`);
  if (button && !button.disabled) {
    event.preventDefault();
    button.click();
  }
});

let sent = false;
form.addEventListener("submit", (event) => {
  if (sent) event.preventDefault(); // a second tap on the way
  sent = true;
});
window.addEventListener("pageshow", () => { sent = false; });
