// Keeps the page current: the server sends its changing parts as HTML, which are laid over what is
// there, so that focus, selection and scrolling stay where they are.
"use strict";

function keyOf(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.dataset.key : undefined;
}

function isSameKind(before, after) {
  return before.nodeName === after.nodeName && keyOf(before) === keyOf(after);
}

function lay(before, after) {
  if (before.nodeType !== Node.ELEMENT_NODE) {
    if (before.nodeValue !== after.nodeValue) before.nodeValue = after.nodeValue;
    return;
  }
  for (const { name } of [...before.attributes]) {
    if (!after.hasAttribute(name)) before.removeAttribute(name);
  }
  for (const { name, value } of after.attributes) {
    if (before.getAttribute(name) !== value) before.setAttribute(name, value);
  }
  layChildren(before, after);
}

function layChildren(before, after) {
  const keyed = new Map([...before.childNodes].map((node) => [keyOf(node), node]));
  keyed.delete(undefined);
  let place = before.firstChild;
  for (const wanted of [...after.childNodes]) {
    const known = keyed.get(keyOf(wanted)) ?? place;
    if (known && isSameKind(known, wanted)) {
      if (known === place) place = place.nextSibling;
      else before.insertBefore(known, place);
      lay(known, wanted);
    } else {
      before.insertBefore(wanted, place);
    }
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

function show(parts) {
  for (const [id, html] of Object.entries(parts)) {
    const template = document.createElement("template");
    template.innerHTML = html;
    layChildren(document.getElementById(id), template.content);
  }
}

const connection = document.getElementById("connection");
const events = new EventSource("/ui/events");
events.addEventListener("parts", (event) => {
  show(JSON.parse(event.data));
  connection.textContent = "live";
});
events.addEventListener("signed-out", () => location.reload());
events.addEventListener("error", () => {
  connection.textContent = "connection lost, trying again";
});

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});
