// Shows openapi.json. Everything is put in as text, never as markup.
"use strict";

const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
};

/** The little of Markdown that descriptions use: paragraphs, `code`, **strong**. */
const prose = (text = "") =>
  text.split(/\n\s*\n/).filter(Boolean).map((paragraph) => {
    const made = element("p");
    for (const piece of paragraph.split(/(`[^`]+`|\*\*[^*]+\*\*)/)) {
      if (piece.startsWith("`")) made.append(element("code", { textContent: piece.slice(1, -1) }));
      else if (piece.startsWith("**")) made.append(element("strong", { textContent: piece.slice(2, -2) }));
      else made.append(piece);
    }
    return made;
  });

const nameOf = (reference) => reference.split("/").pop();

/** What a schema is, in a word or two. */
const kindOf = (schema = {}) => {
  if (schema.$ref) return element("a", { href: `#schema-${nameOf(schema.$ref)}`, textContent: nameOf(schema.$ref) });
  const either = schema.oneOf ?? schema.anyOf;
  if (either) {
    const made = element("span");
    either.filter((one) => one.type !== "null").forEach((one, index) => made.append(index ? " | " : "", kindOf(one)));
    return made;
  }
  const type = [schema.type].flat().filter((one) => one && one !== "null").join(" | ");
  if (type === "array") return element("span", {}, "list of ", kindOf(schema.items));
  if (schema.enum) return element("span", { textContent: schema.enum.join(" | ") });
  return element("span", { textContent: schema.contentMediaType ? "file" : type || "any" });
};

const limitsOf = (schema = {}) => {
  const said = [];
  if (schema.pattern) said.push(schema.pattern);
  if (schema.minimum !== undefined || schema.maximum !== undefined) said.push(`${schema.minimum ?? ""} … ${schema.maximum ?? ""}`);
  if (schema.maxLength) said.push(`≤ ${schema.maxLength} characters`);
  if (schema.maxItems) said.push(`≤ ${schema.maxItems} entries`);
  return said.length ? element("div", {}, element("code", { textContent: said.join("; ") })) : "";
};

const row = (name, needed, schema, description, extra) =>
  element("tr", {},
    element("td", {}, element("code", { textContent: name, className: needed ? "needed" : "" })),
    element("td", { className: "kind" }, kindOf(schema)),
    element("td", {}, ...prose(description), limitsOf(schema), extra ?? ""));

const table = (rows) => element("table", {}, element("tbody", {}, ...rows));

const fieldsOf = (schema) => {
  const needed = new Set(schema.required ?? []);
  return Object.entries(schema.properties ?? {}).map(([name, field]) => row(name, needed.has(name), field, field.description));
};

/** A schema's example, made of its fields' examples. */
const exampleOf = (schema, all, depth = 0) => {
  if (!schema || depth > 6) return null;
  if (schema.$ref) return exampleOf(all[nameOf(schema.$ref)], all, depth + 1);
  if (schema.example !== undefined) return schema.example;
  if (schema.oneOf || schema.anyOf) return exampleOf((schema.oneOf ?? schema.anyOf).find((one) => one.type !== "null"), all, depth + 1);
  if (schema.enum) return schema.enum[0];
  const type = [schema.type].flat().find((one) => one !== "null");
  if (type === "object") {
    const shown = Object.entries(schema.properties ?? {}).filter(([name, field]) => (schema.required ?? []).includes(name) || field.example !== undefined);
    return Object.fromEntries(shown.map(([name, field]) => [name, exampleOf(field, all, depth + 1)]));
  }
  if (type === "array") return [exampleOf(schema.items, all, depth + 1)];
  if (type === "integer" || type === "number") return schema.minimum ?? 0;
  if (type === "boolean") return false;
  return "";
};

const quoted = (text) => `'${String(text).replaceAll("'", "'\\''")}'`;

/** The request as a line for the shell. */
const curl = (method, path, operation, all) => {
  const query = [];
  const words = ["curl -H \"Authorization: Bearer $TOKEN\""];
  for (const parameter of operation.parameters ?? []) {
    const value = exampleOf(parameter.schema, all);
    if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, encodeURIComponent(value || "NAME"));
    if (parameter.in === "query" && parameter.required) query.push(`${parameter.name}=${encodeURIComponent(value)}`);
    if (parameter.in === "header" && parameter.required) words.push(`-H ${quoted(`${parameter.name}: ${value}`)}`);
  }
  if (method === "head") words.push("--head");
  if (method === "delete" || method === "put" || (method === "post" && !operation.requestBody)) words.push(`-X ${method.toUpperCase()}`);
  const bodies = Object.entries(operation.requestBody?.content ?? {});
  const [media, content] = bodies.find(([media]) => media === "multipart/form-data") ?? bodies[0] ?? [];
  if (media === "multipart/form-data") {
    const form = all[nameOf(content.schema.$ref)];
    words.push(`-F ${quoted(`document=${JSON.stringify(exampleOf(form.properties.document, all))};type=application/json`)}`, "-F file=@cong-van.pdf");
  } else if (media === "application/xml") {
    words.push("-H 'Content-Type: application/xml' --data-binary @packet.edxml");
  } else if (media === "application/offset+octet-stream") {
    words.push(`-X PATCH -H ${quoted(`Content-Type: ${media}`)} --data-binary @cong-van.pdf`);
  } else if (media) {
    words.push(`-H ${quoted(`Content-Type: ${media}`)} -d ${quoted(JSON.stringify(exampleOf(content.schema, all)))}`);
  }
  words.push(quoted(location.origin + path + (query.length ? `?${query.join("&")}` : "")));
  return words.join(" \\\n  ");
};

/** Lets a GET be tried from the page. */
const trial = (path, operation) => {
  const answer = element("pre", { hidden: true });
  const inputs = new Map();
  const rows = (operation.parameters ?? []).filter((parameter) => parameter.in !== "header").map((parameter) => {
    const input = element("input", { ariaLabel: parameter.name, placeholder: parameter.required ? "" : "—" });
    inputs.set(parameter, input);
    return element("tr", {}, element("td", {}, element("code", { textContent: parameter.name, className: parameter.required ? "needed" : "" })), element("td", {}, input));
  });
  const button = element("button", { textContent: "Try · Gọi thử" });
  button.addEventListener("click", async () => {
    let target = path;
    const query = new URLSearchParams();
    for (const [parameter, input] of inputs) {
      if (parameter.in === "path") target = target.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      else if (input.value) query.append(parameter.name, input.value);
    }
    answer.hidden = false;
    answer.textContent = "…";
    try {
      const token = document.getElementById("token").value.trim();
      const response = await fetch(target + (query.size ? `?${query}` : ""), { headers: token ? { Authorization: `Bearer ${token}` } : {} });
      const text = (await response.text()).slice(0, 100_000);
      let shown = text;
      try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: as it is */ }
      answer.textContent = `${response.status} ${response.headers.get("content-type") ?? ""}\n\n${shown}`;
    } catch (error) {
      answer.textContent = String(error);
    }
  });
  return [table(rows), element("p", {}, button), answer];
};

const shown = (method, path, operation, all) => {
  const made = element("details", { id: operation.operationId },
    element("summary", {},
      element("span", { className: `method ${method}`, textContent: method.toUpperCase() }),
      element("code", { textContent: path }),
      element("span", { className: "title", textContent: operation.summary ?? "" })),
    ...prose(operation.description));
  const parameters = (operation.parameters ?? []).map((parameter) =>
    row(parameter.name, parameter.required, parameter.schema, parameter.description, element("small", { textContent: parameter.in })));
  if (parameters.length) made.append(element("h4", { textContent: "Parameters" }), table(parameters));
  for (const [media, content] of Object.entries(operation.requestBody?.content ?? {})) {
    made.append(element("h4", { textContent: "Body" }), element("p", {}, element("code", { textContent: media }), " ", kindOf(content.schema)));
  }
  made.append(element("h4", { textContent: "Answers" }), table(Object.entries(operation.responses).map(([status, response]) => {
    const [media, content] = Object.entries(response.content ?? {})[0] ?? [];
    return row(status, false, content?.schema, response.description, media ? element("small", { textContent: media }) : "");
  })));
  made.append(element("h4", { textContent: "Example" }), element("pre", { textContent: curl(method, path, operation, all) }));
  if (method === "get") made.append(...trial(path, operation));
  return made;
};

const open = () => {
  const aim = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (aim?.tagName === "DETAILS") aim.open = true;
  aim?.scrollIntoView();
};

const start = async () => {
  const api = await (await fetch("openapi.json")).json();
  const all = api.components?.schemas ?? {};
  document.getElementById("version").textContent = api.info.version;
  document.getElementById("intro").append(...prose(api.info.description));
  const operations = document.getElementById("operations");
  const list = element("ul");
  operations.replaceChildren();
  for (const tag of api.tags ?? []) {
    operations.append(element("h2", { textContent: tag.name }), ...prose(tag.description));
    for (const [path, item] of Object.entries(api.paths)) {
      for (const method of ["get", "post", "put", "head", "patch", "delete"]) {
        const operation = item[method];
        if (!operation?.tags?.includes(tag.name)) continue;
        operations.append(shown(method, path, operation, all));
        list.append(element("li", {}, element("a", { href: `#${operation.operationId}`, textContent: operation.summary ?? path })));
      }
    }
  }
  document.getElementById("contents").append(list);
  for (const [name, schema] of Object.entries(all)) {
    const rows = fieldsOf(schema);
    document.getElementById("schemas").append(element("details", { id: `schema-${name}` },
      element("summary", {}, element("code", { textContent: name })),
      ...prose(schema.description),
      rows.length ? table(rows) : element("p", {}, kindOf(schema), limitsOf(schema))));
  }
  addEventListener("hashchange", open);
  open();
};

start().catch((error) => {
  document.getElementById("operations").textContent = `openapi.json: ${error}`;
});
