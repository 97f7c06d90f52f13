// Shows /openapi.json with Swagger UI. Owns nothing but its settings; nothing here asks another host.

globalThis.SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#docs",
  displayRequestDuration: true,
  persistAuthorization: true, // a token that was pasted is still there after a reload
  validatorUrl: null, // otherwise the description is sent to a checking service
});
