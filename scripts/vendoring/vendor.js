// Makes the vendored files: node vendor.js FOLDER
//
// Everything that a browser loads from elsewhere than this project's own files; LICENSES.md in that folder is written
// by hand and must name the same versions.

import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { build } from "esbuild";

const [target] = process.argv.slice(2);
const here = import.meta.dirname ?? dirname(new URL(import.meta.url).pathname);
const packages = join(here, "node_modules");
const SOURCE_MAP = /^\/[/*]# sourceMappingURL=.*\n?/gm; // the maps are not served

const versionOf = (name) => JSON.parse(readFileSync(join(packages, name, "package.json"), "utf8")).version;
const without = (name, file, pattern) => readFileSync(join(packages, name, file), "utf8").replace(pattern, "");

async function preact() {
  const { outputFiles } = await build({
    entryPoints: [join(here, "preact.js")],
    bundle: true,
    format: "esm",
    minify: true,
    legalComments: "none",
    target: "es2022",
    write: false,
  });
  return outputFiles[0].text;
}

const SWAGGER = "swagger-ui-dist";
const FILES = [
  ["preact.js", ["preact", "@preact/signals", "htm"], preact],
  [
    "socket.io.esm.min.js",
    ["socket.io-client"],
    () => without("socket.io-client", "dist/socket.io.esm.min.js", SOURCE_MAP),
  ],
  ["swagger-ui/swagger-ui-bundle.js", [SWAGGER], () => without(SWAGGER, "swagger-ui-bundle.js", SOURCE_MAP)],
  ["swagger-ui/swagger-ui.css", [SWAGGER], () => without(SWAGGER, "swagger-ui.css", SOURCE_MAP)],
  ["swagger-ui/LICENSE.txt", [SWAGGER], () => without(SWAGGER, "LICENSE", /$^/)],
  ["swagger-ui/NOTICE.txt", [SWAGGER], () => without(SWAGGER, "NOTICE", /$^/)],
  [
    "swagger-ui/swagger-ui-bundle.js.LICENSE.txt",
    [SWAGGER],
    () => without(SWAGGER, "swagger-ui-bundle.js.LICENSE.txt", /$^/),
  ],
];

const manifest = {};
for (const [file, from, make] of FILES) {
  const content = await make();
  mkdirSync(dirname(join(target, file)), { recursive: true });
  writeFileSync(join(target, file), content);
  manifest[file] = {
    from: Object.fromEntries(from.map((name) => [name, versionOf(name)])),
    sha256: createHash("sha256").update(content).digest("hex"),
  };
}
writeFileSync(join(target, "manifest.json"), `${JSON.stringify(manifest, null, 2)}\n`);
