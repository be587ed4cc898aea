// The documentation of the API: Swagger UI with the OpenAPI document of the current model.

const dark = matchMedia("(prefers-color-scheme: dark)");
const adapt = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", adapt);
adapt();

globalThis.SwaggerUIBundle({
  url: "openapi.json",
  domNode: document.querySelector("#documentation"),
  deepLinking: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: null, // it would be another origin
});
