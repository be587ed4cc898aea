// The page: renders the state and sets up its controls. Requests to the service are in api.js.

import { drop, newest } from "./api.js";
import { showItem } from "./item.js";
import { keepKey, onKey } from "./key.js";
import { choose, fitMine, loadMine, sayOfName, saveUnderName, showMine } from "./new_user.js";
import { onOtherModel, recommend } from "./recommendations.js";
import { isUnsaved, openRecording } from "./recording.js";
import { setUpSearch } from "./search.js";
import { $, FILTERS, go, model, noun, onState, scale, setModel, state, usual } from "./state.js";
import { dropSuggestions, onSuggested } from "./suggestions.js";
import { list, showChanges, showRatings } from "./user.js";
import { capital, count, h, plain, plainId } from "./view.js";

const ORDERS = { liking: "What you would pick", stars: "Predicted rating", gain: "More than others", bound: "Surest rating" };

let lastUser = null; // restored when switching back from the other tab

function show(before) {
  lastUser = state.user ?? lastUser;
  const differs = (...keys) => keys.some((key) => before[key] !== state[key]);
  showTabs();
  if (model) fillFilters();
  $("results-name").textContent = state.isNew ? "Recommended for you" : state.user ? `Recommended for user ${plainId(state.user)}` : "Recommended";
  if (differs("isNew", "user", "rate")) showPerson();
  if (differs("isNew", "user", "rate", ...FILTERS)) recommend();
  if (differs("item", "isNew", "user", "rate")) showItem();
}

/** Put what is asked for into the filters, or what is usual: the fewest ratings were learned for each order. */
function fillFilters() {
  const { counts, ranking } = model;
  const guess = Math.min(20, Math.floor((counts.ratings / counts.items || 0) / 4)); // titles with few ratings are predicted high by chance
  usual.min = String(ranking ? ranking.min_ratings?.[state.order ?? usual.order] ?? 0 : guess);
  for (const key of FILTERS) {
    const field = $("filters").elements[key];
    const value = state[key] ?? usual[key] ?? "";
    if (field.value !== value) field.value = value; // otherwise the caret would jump while typing
  }
}

function showTabs() {
  for (const [tab, selected] of [[$("tab-user"), !state.isNew], [$("tab-new"), state.isNew]]) {
    tab.ariaSelected = String(selected);
    tab.tabIndex = selected ? 0 : -1;
  }
  $("panel").setAttribute("aria-labelledby", state.isNew ? "tab-new" : "tab-user");
  for (const id of ["user-form", "examples", "profile"]) $(id).hidden = state.isNew;
  for (const id of ["given", "name-form"]) $(id).hidden = !state.isNew;
  for (const id of ["search-field", "popular"]) $(id).hidden = !state.isNew && !state.rate;
  $("panel").classList.toggle("reading", !state.isNew && !state.rate); // on a phone the list comes first
}

function showPerson() {
  $("user-id").value = state.user ?? "";
  for (const link of $("examples").querySelectorAll("a")) {
    if (link.dataset.user === state.user) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  drop("user");
  drop("name");
  if (state.isNew) showMine();
  else showRatings();
}

function showModel() {
  const { metrics = {}, counts = {}, service } = model;
  document.title = `recsys · ${plain(model.data)}`;
  $("model-name").textContent = model.model;
  $("model-data").textContent = model.data;
  $("model-version").textContent = model.model_version;
  showQuality(metrics ?? {});
  const nouns = { ratings: scale.implicit ? "choice" : "rating", users: "user", items: noun };
  $("counts").textContent = Object.keys(nouns).filter((key) => counts[key]).map((key) => count(counts[key], nouns[key])).join(", ");
  const areNumbers = model.id_kind === "int";
  document.querySelector("label[for=name]").textContent = areNumbers ? "Save them as user" : "Save them under a name";
  const rule = areNumbers ? " Users of this data are numbers." : "";
  $("name-hint").textContent = `Until then they are in this tab only. Afterwards you can come back to them as this user.${rule}`;
  document.querySelector("label[for=search]").textContent = `${capital(noun)}s you know`;
  $("search-hint").textContent = scale.implicit ? `Choose ${noun}s that you know.` : `Choose ${noun === "item" ? "an item" : "a title"}, then rate it.`;
  $("min-after").textContent = scale.implicit ? "choices" : "ratings";
  $("yours").ariaLabel = scale.implicit ? "Choices" : "Ratings";
  $("no-new").hidden = model.fold_in !== "none";
  $("tab-new").hidden = model.fold_in === "none";
  $("genre-field").hidden = service.genres.length === 0;
  const genre = $("filters").elements.genre;
  genre.replaceChildren(genre.options[0], ...service.genres.map((name) => h("option", { selected: name === state.genre }, name)));
  for (const label of document.querySelectorAll(".year")) label.hidden = !service.years;
  if (service.years) [$("filters").elements.from.placeholder, $("filters").elements.to.placeholder] = service.years;
  [usual.order = ""] = service.orders;
  $("order-field").hidden = service.orders.length < 2;
  $("filters").elements.order.replaceChildren(...service.orders.map((name) => h("option", { value: name, selected: name === (state.order ?? usual.order) }, ORDERS[name])));
  fillFilters();
  if (areNumbers) $("user-id").inputMode = $("name").inputMode = "numeric";
  $("examples").replaceChildren(...service.example_users.slice(0, 6).map((user) => h("a", { href: `#user=${encodeURIComponent(user)}`, "data-user": user }, plainId(user))));
}

/** How good the model is, in words: how far its ratings are off, or how often its lists have what was chosen next. */
function showQuality(metrics) {
  const { "ranking/hr@10": hits } = metrics;
  const isRate = model.task === "ranking" && Number.isFinite(hits);
  const [label, figure, explained] = isRate
    ? ["In the first ten", 100 * hits, "how often a list of ten has what a test user chose (HR@10)"]
    : model.task === "ranking"
    ? ["Test NDCG@10", metrics["ranking/ndcg@10"], "how high the lists have what test users chose"]
    : ["Typical error", metrics["test/rmse"], "root mean squared error of test ratings (RMSE)"];
  $("metric-name").textContent = label;
  $("metric-name").title = explained;
  const unit = isRate ? "%" : model.task === "ranking" ? "" : scale.asStars ? " stars" : " points";
  $("metric").textContent = Number.isFinite(figure) ? figure.toFixed(isRate ? 0 : unit ? scale.digits : 4) + unit : "not measured";
}

function setUp() {
  const tabs = [$("tab-user"), $("tab-new")];
  tabs[0].onclick = () => state.isNew && go({ isNew: false, user: lastUser, item: null });
  tabs[1].onclick = () => state.isNew || go({ isNew: true, user: null, item: null });
  document.querySelector("[role=tablist]").onkeydown = ({ key }) => {
    if (!["ArrowLeft", "ArrowRight"].includes(key) || tabs[1].hidden) return;
    const other = tabs[state.isNew ? 0 : 1];
    other.click();
    other.focus();
  };
  $("user-form").onsubmit = (event) => {
    event.preventDefault();
    const id = $("user-id").value;
    go({ isNew: false, user: model.id_kind === "int" ? id.trim() : id });
  };
  $("name-form").onsubmit = saveUnderName;
  $("name").oninput = () => sayOfName(null);
  let timer;
  $("filters").oninput = () => {
    clearTimeout(timer);
    timer = setTimeout(readFilters, 250);
  };
  $("filters").onchange = () => $("filters").reportValidity();
  $("filters").onsubmit = (event) => event.preventDefault();
  $("show-filters").onclick = () => {
    const open = $("filters").classList.toggle("open");
    $("show-filters").ariaExpanded = String(open);
  };
  $("item-close").onclick = () => $("item").close();
  $("item").onclose = () => state.item && go({ item: null });
  $("item").onclick = ({ target }) => {
    if (target === $("item")) $("item").close(); // beside the panel; a handler that returns false would undo the click
  };
  document.addEventListener("click", keepState);
  addEventListener("beforeunload", (event) => isUnsaved() && event.preventDefault());
  setUpSearch($("search"), $("found"), $("search-hint"), { choose: rateNext, find });
  onSuggested(rateNext);
  onOtherModel(() => newest("model", loadModel));
}

function readFilters() {
  const form = $("filters");
  if (!form.checkValidity()) return; // half typed; reported when leaving the field
  const chosen = FILTERS.map((key) => [key, form.elements[key].value]);
  go(Object.fromEntries(chosen.map(([key, value]) => [key, value === usual[key] ? null : value || null])), true);
}

const find = (query, show) => newest("search", async (ask) => show((await ask(`items?${new URLSearchParams({ query, limit: 12 })}`)).items));

/** List a title to be rated. */
const rateNext = (item) => (state.isNew ? choose(item) : list(item));

/** Links contain only the item or the user; keep the rest of the URL. */
function keepState(event) {
  const link = event.target.closest("a[data-item], a[data-user], #skip");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  if (link.id === "skip") $("panel").focus();
  else if (link.dataset.user) go({ user: link.dataset.user });
  else go({ item: link.dataset.item });
}

async function loadModel(ask) {
  const found = await ask("model");
  setModel(found);
  fitMine(); // given to the model before, if another one was swapped in
  dropSuggestions();
  showModel();
}

onKey((key) => ($("key-kept").hidden = key === null));
$("forget-key").onclick = () => {
  keepKey(null);
  location.reload();
};
newest("model", async (ask) => {
  await loadModel(ask);
  loadMine();
  setUp();
  if (model.service.records_events) openRecording(model.data, showChanges);
  const [example] = model.service.example_users;
  if (location.hash.length < 2 && example) history.replaceState(null, "", `#user=${encodeURIComponent(example)}`);
  document.body.classList.add("ready");
  onState(show);
});
