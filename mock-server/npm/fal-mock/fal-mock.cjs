#!/usr/bin/env node
// The program of the package for this platform, with the same arguments.
"use strict";

const { spawn } = require("node:child_process");
const os = require("node:os");
const { findBinary } = require("./testing.cjs");

let program;
try {
  program = findBinary();
} catch (error) {
  console.error(`fal-mock: ${error.message}`);
  process.exit(2);
}
const child = spawn(program, process.argv.slice(2), { stdio: "inherit" });
// Ctrl-C in a terminal reaches both by itself; what is sent to this process alone goes on to the program.
process.on("SIGINT", () => {});
for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.on("error", (error) => {
  console.error(`fal-mock: ${program} cannot be started: ${error.message}`);
  process.exit(2);
});
child.on("exit", (code, signal) => process.exit(code ?? 128 + (os.constants.signals[signal] ?? 0)));
