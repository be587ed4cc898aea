// The documentation of the API: Swagger UI with the OpenAPI document of the current model, and the key of this tab.

import { keepKey, onKey } from "./key.js";

const SCHEME = "key"; // its name in the document, if keys are used

const dark = matchMedia("(prefers-color-scheme: dark)");
const adapt = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", adapt);
adapt();

/** A key that is given here ("Authorize") is the key of this tab, also on the page. */
const keepingKeys = () => ({
  statePlugins: {
    auth: {
      wrapActions: {
        authorize: (original) => (given) => {
          if (given[SCHEME]?.value) keepKey(given[SCHEME].value);
          return original(given);
        },
        logout: (original) => (names) => {
          keepKey(null);
          return original(names);
        },
      },
    },
  },
});

const ui = globalThis.SwaggerUIBundle({
  url: "openapi.json",
  domNode: document.querySelector("#documentation"),
  plugins: [keepingKeys],
  onComplete: () => onKey((key) => key && ui.preauthorizeApiKey(SCHEME, key)),
  deepLinking: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0, // schemas: closed
  validatorUrl: null, // it would be another origin
});
