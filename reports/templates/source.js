// Where a number comes from: shown on hover, on touch and on focus, in one box for the whole page.
(() => {
  const box = document.body.appendChild(document.createElement("div"));
  box.id = "source";
  box.setAttribute("role", "tooltip");
  box.hidden = true;
  document.querySelectorAll("main [title]").forEach(element => {
    element.dataset.source = element.title;
    element.removeAttribute("title");
    if (element.matches("div, span, figure")) element.tabIndex = 0;
  });
  const show = event => {
    const element = event.target.closest("[data-source]");
    if (!element) return hide();
    box.textContent = element.dataset.source;
    box.hidden = false;
    const place = element.getBoundingClientRect(), size = box.getBoundingClientRect();
    const x = event.clientX ?? place.left;
    box.style.left = `${Math.max(8, Math.min(x + 12, document.documentElement.clientWidth - size.width - 8))}px`;
    const below = (event.clientY ?? place.bottom) + 16;
    box.style.top = `${below + size.height < innerHeight ? below : Math.max(8, below - size.height - 32)}px`;
  };
  const hide = () => { box.hidden = true; };
  for (const kind of ["pointerover", "click", "focusin"]) document.addEventListener(kind, show);
  for (const kind of ["pointerleave", "focusout"]) document.documentElement.addEventListener(kind, hide);
  addEventListener("scroll", hide, {passive: true, capture: true});
  addEventListener("keydown", event => { if (event.key === "Escape") hide(); });
})();
