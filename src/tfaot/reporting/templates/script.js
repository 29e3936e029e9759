(() => {
  "use strict";
  // The page works without this: it adds buttons, and keeps the choice of colours.
  const button = (label, action) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = label;
    made.addEventListener("click", () => action(made));
    return made;
  };

  const tree = document.querySelector(".tree");
  const fold = (open) => () => {
    for (const part of tree.querySelectorAll("details")) part.open = open;
  };
  const row = document.createElement("p");
  row.append(button("Unfold all", fold(true)), " ", button("Fold all", fold(false)));
  tree.before(row);

  for (const snippet of document.querySelectorAll(".snippet")) {
    const text = snippet.querySelector("code").textContent;
    snippet.append(button("Copy", async (made) => {
      try {
        await navigator.clipboard.writeText(text);
        made.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(snippet.querySelector("code"));
        made.textContent = "Selected";
      }
    }));
  }

  const choices = document.querySelectorAll("input[name=theme]");
  const key = "tfaot-report-theme";
  try {
    const kept = localStorage.getItem(key);
    for (const choice of choices) choice.checked = choice.value === (kept ?? "auto");
    for (const choice of choices) {
      choice.addEventListener("change", () => localStorage.setItem(key, choice.value));
    }
  } catch {
    // Without storage the choice lasts as long as the page.
  }
})();
