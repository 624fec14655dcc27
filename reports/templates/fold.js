// The depth of the report is folded away on screens: a heading unfolds its section, and so does a link to it.
(() => {
  const deep = [...document.querySelectorAll("main > section.deep")];
  const fold = (section, folded) => {
    section.classList.toggle("folded", folded);
    section.querySelector("h2 button").setAttribute("aria-expanded", !folded);
  };
  for (const section of deep) {
    const head = section.querySelector("h2"), button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => fold(section, !section.classList.contains("folded")));
    fold(section, true);
  }
  const all = document.querySelector("#unfold");
  all.hidden = false;
  all.addEventListener("click", () => deep.forEach(section => fold(section, false)));
  const reveal = () => {
    const section = location.hash.length > 1 && document.getElementById(location.hash.slice(1))?.closest("section.deep");
    if (section) { fold(section, false); section.scrollIntoView(); }
  };
  addEventListener("hashchange", reveal);
  reveal();
})();
