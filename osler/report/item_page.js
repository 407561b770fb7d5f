"use strict";
const told = JSON.parse(document.getElementById("data").textContent);
const words = document.getElementById("words");
const which = document.getElementById("which");
const count = document.getElementById("count");
const place = document.getElementById("items");
const STEP = 50; // items drawn at a time

function made(tag, text, kind) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (kind) node.className = kind;
  return node;
}

const spelled = (choice) => (choice === null ? "-" : told.letters[choice]);
for (const item of told.items) {
  const texts = Object.values(item.answers).flatMap((answer) => answer.texts);
  item.all = [item.id, item.context, item.question, ...item.options, ...texts].join("\n").toLowerCase();
}

function wanted(item) {
  const answers = Object.values(item.answers);
  const [kind, ...rest] = which.value.split(" ");
  if (kind === "wrong") return item.answers[rest.join(" ")] && !item.answers[rest.join(" ")].right;
  if (kind === "differ") return new Set(answers.map((answer) => answer.choice)).size > 1;
  if (kind === "changed") return answers.some((answer) => answer.was && answer.was[0] !== answer.choice);
  return true;
}

function opened(item, node) {
  if (item.context) node.append(made("p", item.context));
  node.append(made("p", item.question));
  const frame = made("div", undefined, "table");
  frame.tabIndex = 0;
  const table = made("table");
  const head = made("tr");
  head.append(made("th", ""), made("th", "option"));
  for (const model of Object.keys(item.answers)) head.append(made("th", model, "number"));
  table.append(head);
  item.options.forEach((option, number) => {
    const row = made("tr");
    row.append(made("td", told.letters[number]), made("td", option, number === item.gold ? "right" : ""));
    for (const answer of Object.values(item.answers)) {
      const share = (100 * answer.probabilities[number]).toFixed(1) + (answer.choice === number ? " ◂" : "");
      row.append(made("td", share, "number"));
    }
    table.append(row);
  });
  frame.append(table);
  node.append(frame);
  for (const [model, answer] of Object.entries(item.answers)) {
    let line = `${model}: ${spelled(answer.choice)}, ${answer.right ? "right" : "wrong"}; ${answer.read} tokens read, `;
    line += `${answer.written} written` + (answer.cut ? "; its prompt was cut" : "");
    if (answer.was) line += `; before: ${spelled(answer.was[0])}, ${answer.was[1] ? "right" : "wrong"}`;
    node.append(made("p", line));
    for (const text of answer.texts) node.append(made("pre", text));
  }
  if (item.prompt !== null) {
    node.append(made("p", "The prompt as it was sent:"), made("pre", told.begin + item.prompt));
  }
}

function drawn(item) {
  const node = made("details");
  const marks = Object.values(item.answers).map((answer) => (answer.right ? "✓" : "✗")).join("");
  node.append(made("summary", `${marks} ${item.id}: ${item.question}`));
  node.addEventListener("toggle", () => {
    if (node.open && node.childElementCount === 1) opened(item, node);
  });
  return node;
}

let found = [];
let shown = 0;
function more() {
  place.append(...found.slice(shown, shown + STEP).map(drawn));
  shown = Math.min(found.length, shown + STEP);
}

function look() {
  const asked = words.value.toLowerCase();
  found = told.items.filter((item) => wanted(item) && item.all.includes(asked));
  count.textContent = `${found.length} of ${told.items.length} items`;
  place.replaceChildren();
  shown = 0;
  more();
}

addEventListener("scroll", () => {
  const left = document.documentElement.scrollHeight - scrollY - innerHeight;
  if (left < 2 * innerHeight && shown < found.length) more();
});
words.addEventListener("input", look);
which.addEventListener("input", look);
document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
look();
