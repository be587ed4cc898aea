// Beginning: everything is drawn from the address once the whole script is read.

function showAll() {
  readFilter();
  hover(null);
  showControls();
  showVerdict();
  showLeaderboard();
  showParallel();
  showParameters();
  showCurves();
  showCost();
  showError();
  showRankings();
  showUnfinished();
  showReading();
  showContents();
  drawCharts();
  writeAddress();
}

function setUp() {
  $("task").onchange = () => go({ task: Number($("task").value) });
  $("metric").onchange = () => go({ metric: $("metric").value });
  let timer;
  $("filter").oninput = () => {
    clearTimeout(timer);
    timer = setTimeout(() => setFilter($("filter").value), 120);
  };
  $("controls").onsubmit = (event) => event.preventDefault();
  document.addEventListener("click", followLink);
  document.addEventListener("keydown", ({ key }) => key === "Escape" && hover(null));
  addEventListener("scroll", () => placeTip(null), { passive: true });
  document.addEventListener("scroll", ({ target }) => target !== document && showScrollable(), { passive: true, capture: true });
  addEventListener("hashchange", () => {
    readAddress();
    showAll();
  });
  new ResizeObserver(() => {
    clearTimeout(setUp.timer);
    setUp.timer = setTimeout(drawCharts, 100);
  }).observe(document.body);
}

/** Links within the page must not overwrite the address, which holds the view. */
function followLink(event) {
  const link = event.target.closest('a[href^="#"]');
  if (!link) return;
  event.preventDefault();
  const target = document.querySelector(link.getAttribute("href"));
  target.scrollIntoView();
  (target.querySelector("h2") ?? target).focus({ preventScroll: true });
}

document.addEventListener("DOMContentLoaded", () => {
  setUpTheme();
  showHeader();
  readAddress();
  setUp();
  showAll();
});
