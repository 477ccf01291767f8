// A click on a fix names it to the page.
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-fix]");
  if (button) trigger("select", { fix: button.dataset.fix });
});
