// Unpacks the browser that npm brought: the program, and the libraries and fonts it needs.
// Usage: node unpack.mjs FOLDER, where FOLDER has node_modules.
import { execFileSync } from "node:child_process";
import { createReadStream, createWriteStream } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";

const folder = resolve(process.argv[2]);
const packed = join(folder, "node_modules/@sparticuz/chromium/bin");

const unpack = (name, to, mode) =>
  pipeline(createReadStream(join(packed, `${name}.br`)), createBrotliDecompress(), createWriteStream(to, { mode }));

for (const name of ["al2023.tar", "fonts.tar"]) {
  const archive = join(folder, name);
  await unpack(name, archive, 0o644);
  execFileSync("tar", ["--extract", "--file", archive, "--directory", folder]);
  await rm(archive);
}
await unpack("chromium", join(folder, "chromium"), 0o755);
// The same letters on every machine.
const fonts = `<fontconfig><dir>${join(folder, "fonts")}</dir><cachedir>${join(folder, "fonts-cache")}</cachedir></fontconfig>`;
await writeFile(join(folder, "fonts.conf"), fonts);
// It is 64 MB, and not needed twice.
await rm(join(packed, "chromium.br"));
