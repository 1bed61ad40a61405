// Packs the packages for npm: `node pack.mjs PROGRAM FOLDER`, as `cargo xtask dist` does.
//
// `fal-mock` has the scripts and names a package for each platform among its optional dependencies, of which npm installs
// the one that fits. This packs it, and the one for the platform of this machine, which carries PROGRAM.
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

const [program, folder] = process.argv.slice(2);
if (!program || !folder) {
  console.error("usage: node pack.mjs PROGRAM FOLDER");
  process.exit(2);
}
const main = path.join(import.meta.dirname, "fal-mock");
const manifest = JSON.parse(fs.readFileSync(path.join(main, "package.json"), "utf8"));
const platform = `${process.platform}-${process.arch}`;
const name = `@fal-mock/${platform}`;
if (!(name in manifest.optionalDependencies)) {
  console.error(`fal-mock/package.json does not name ${name} among its optional dependencies`);
  process.exit(1);
}

const work = fs.mkdtempSync(path.join(os.tmpdir(), "fal-mock-npm-"));
try {
  const file = process.platform === "win32" ? "fal-mock.exe" : "fal-mock";
  fs.copyFileSync(program, path.join(work, file));
  fs.chmodSync(path.join(work, file), 0o755);
  const own = {
    name,
    version: manifest.version,
    description: `The program of fal-mock for ${platform}`,
    license: manifest.license,
    os: [process.platform],
    cpu: [process.arch],
    ...libc(path.join(work, file)),
    preferUnplugged: true,
    files: [file],
  };
  fs.writeFileSync(path.join(work, "package.json"), `${JSON.stringify(own, null, 2)}\n`);
  const whole = path.join(work, "main");
  fs.cpSync(main, whole, { recursive: true });
  writeTypes(whole);
  fs.mkdirSync(folder, { recursive: true });
  const npm = process.platform === "win32" ? "npm.cmd" : "npm";
  const options = { cwd: folder, stdio: ["ignore", "inherit", "inherit"], shell: process.platform === "win32" };
  for (const source of [work, whole]) {
    execFileSync(npm, ["pack", "--silent", "--offline", path.resolve(source)], options);
  }
} finally {
  fs.rmSync(work, { recursive: true, force: true });
}

/** Declarations for TypeScript, made of the comments in the source. */
function writeTypes(folder) {
  const tools = path.join(import.meta.dirname, "../../target/ci-tools/js/node_modules");
  const compiler = path.join(tools, "typescript/bin/tsc");
  if (!fs.existsSync(compiler)) {
    console.error("skipped: there are no declarations for TypeScript without its compiler: run `cargo xtask setup`");
    return;
  }
  // It finds the types of Node.js and Vitest above the file.
  const source = fs.mkdtempSync(path.join(tools, "../types-"));
  try {
    fs.copyFileSync(path.join(folder, "testing.cjs"), path.join(source, "testing.cjs"));
    const options = ["--strict", "--checkJs", "--declaration", "--emitDeclarationOnly", "--module", "nodenext", "--skipLibCheck"];
    execFileSync(process.execPath, [compiler, ...options, "--target", "es2022", "--outDir", folder, "testing.cjs"], {
      cwd: source,
      stdio: "inherit",
    });
  } finally {
    fs.rmSync(source, { recursive: true, force: true });
  }
}

/** A program with a loader runs with that C library only; a static one with each. */
function libc(file) {
  if (process.platform !== "linux") return {};
  const bytes = fs.readFileSync(file);
  if (bytes.includes("/ld-linux")) return { libc: ["glibc"] };
  return bytes.includes("/ld-musl") ? { libc: ["musl"] } : {};
}
