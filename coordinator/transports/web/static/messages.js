// Shows /asyncapi.json for people: by namespace, what is sent, what is answered, and the schema of each.

import { html, render } from "/static/vendor/preact.js";

const REFERENCE = "#/components/schemas/";

function Document({ api }) {
  return html`
    <p class="intro muted">${api.info.description}</p>
    ${Object.entries(api.channels).map(
      ([key, channel]) => html`<${Channel} key=${key} channel=${channel} api=${api} />`,
    )}
  `;
}

function Channel({ channel, api }) {
  const messages = Object.entries(channel.messages);
  const commands = messages.filter(([key]) => !key.startsWith("event.") && !key.endsWith(".ack"));
  const events = messages.filter(([key]) => key.startsWith("event."));
  return html`<section class="card stack">
    <h2>${channel.address}</h2>
    <p>${channel.description}</p>
    <h3>Sent by clients</h3>
    ${commands.map(
      ([key, message]) => html`<${Message} key=${key} message=${message} api=${api}
        ack=${channel.messages[`${key}.ack`]} />`,
    )}
    <h3>Sent to clients</h3>
    ${events.map(([key, message]) => html`<${Message} key=${key} message=${message} api=${api} />`)}
  </section>`;
}

function Message({ message, ack, api }) {
  return html`<details>
    <summary><code>${message.name}</code> <span class="muted">${message.summary}</span></summary>
    <${Schema} of=${message.payload} api=${api} label=${`What ${message.name} carries`} />
    ${ack && html`<p>Answered by:</p><${Schema} of=${ack.payload} api=${api} label=${`The ack of ${message.name}`} />`}
  </details>`;
}

function Schema({ of, api, label }) {
  const text = JSON.stringify(resolve(of, api, 3), null, 2);
  return html`<pre tabindex="0" role="region" aria-label=${label}>${text}</pre>`;
}

// A schema with what it refers to put in its place, so deep; deeper ones keep the name.
function resolve(schema, api, depth) {
  if (Array.isArray(schema)) {
    return schema.map((item) => resolve(item, api, depth));
  }
  if (schema === null || typeof schema !== "object") {
    return schema;
  }
  if (schema.$ref !== undefined) {
    const name = schema.$ref.slice(REFERENCE.length);
    return depth > 0 ? resolve(api.components.schemas[name], api, depth - 1) : name;
  }
  return Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, resolve(value, api, depth)]));
}

const place = document.getElementById("document");
try {
  const response = await fetch("/asyncapi.json");
  place.replaceChildren();
  render(html`<${Document} api=${await response.json()} />`, place);
} catch (error) {
  place.textContent = `The document could not be read: ${error.message}`;
}
