// The documentation of the API: Swagger UI with the OpenAPI document of the current model, and the key of this tab.

import { errorOf, SILENT } from "./errors.js";
import { keepKey, onKey, send } from "./key.js";
import { h } from "./view.js";

const dark = matchMedia("(prefers-color-scheme: dark)");
const adapt = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", adapt);
adapt();

const place = document.querySelector("#documentation");

/** What can be asked for, as the service says itself; an error is shown in its place. */
async function load() {
  try {
    const answer = await send("openapi.json");
    const data = await answer.json().catch(() => null);
    if (answer.ok && data) return show(data);
    say(errorOf(answer, data).message);
  } catch (error) {
    say(SILENT);
    throw error;
  }
}

function say(text) {
  const again = h("button", { onclick: () => location.reload() }, "Try again");
  place.replaceChildren(h("p", { role: "alert" }, text), again);
}

function show(spec) {
  const schemes = Object.entries(spec.components?.securitySchemes ?? {});
  const bearer = schemes.find(([, { type, scheme }]) => type === "http" && scheme === "bearer")?.[0];
  const ui = globalThis.SwaggerUIBundle({
    spec,
    domNode: place,
    plugins: [keepingKeys(bearer)],
    onComplete: () => onKey((key) => key && bearer && ui.preauthorizeApiKey(bearer, key)),
    deepLinking: true,
    tryItOutEnabled: true,
    displayRequestDuration: true,
    defaultModelsExpandDepth: 0, // schemas: closed
    validatorUrl: null, // it would be another origin
  });
}

/** A key that is given to Swagger UI ("Authorize") is the key of this tab, also on the page. */
function keepingKeys(bearer) {
  const authorize = (original) => (given) => {
    const key = given[bearer]?.value;
    if (key) keepKey(key);
    return original(given);
  };
  const logout = (original) => (names) => {
    keepKey(null);
    return original(names);
  };
  return () => ({ statePlugins: { auth: { wrapActions: { authorize, logout } } } });
}

load();
