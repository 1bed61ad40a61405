// Written by fal-mock and loaded before a program (node --require). Connections to fal's hosts go to the mock,
// whoever opens them: fetch, WebSocket, node:http, ws. The program sees the real addresses and names; TLS ends
// at the mock, whose certificate authority NODE_EXTRA_CA_CERTS names. Connections to other hosts are opened only
// if the mock, as their proxy, would let them through; otherwise they fail with the mock's reason.
"use strict";

const http = require("node:http");
const net = require("node:net");

const loaded = Symbol.for("fal-mock.preload");
const mock = process.env.FAL_MOCK_URL && new URL(process.env.FAL_MOCK_URL);

if (mock && !globalThis[loaded]) {
  globalThis[loaded] = true;

  const connect = net.Socket.prototype.connect;
  const at = { host: mock.hostname.replace(/^\[|\]$/g, ""), port: Number(mock.port || 80) };

  const isFal = (host) => /(^|\.)(fal\.run|fal\.ai|fal\.media|falrun\.com)\.?$/i.test(host);
  const isHere = (host) => host === at.host || /^(localhost|127\.[\d.]+|::1|\[::1\])$/i.test(host);

  /** Calls back with nothing if the mock lets connections to the address through, else with an error. */
  const askMock = (address, callback) => {
    const request = http.request({ ...at, method: "CONNECT", path: address, agent: false });
    request.on("error", callback);
    request.on("connect", (response, socket, head) => {
      if (response.statusCode === 200) {
        socket.destroy();
        callback();
        return;
      }
      const chunks = [head];
      const end = () => {
        let reason = Buffer.concat(chunks).toString();
        try {
          reason = JSON.parse(reason).detail;
        } catch {}
        socket.destroy();
        callback(Object.assign(new Error(reason), { code: "ERR_FAL_MOCK_REFUSED" }));
      };
      const length = Number(response.headers["content-length"]);
      const isWhole = () => chunks.reduce((sum, { byteLength }) => sum + byteLength, 0) >= length;
      if (isWhole()) return end();
      socket.on("data", (chunk) => {
        chunks.push(chunk);
        if (isWhole()) end();
      });
      socket.on("error", callback);
    });
    request.end();
  };

  net.Socket.prototype.connect = function (...args) {
    // Node passes [options, callback] as one array to itself.
    const isInner = Array.isArray(args[0]);
    const first = isInner ? args[0][0] : args[0];
    let options = first;
    if (typeof first !== "object" || first === null) {
      const isPort = typeof first === "number" || /^\d+$/.test(first);
      options = isPort
        ? { port: Number(first), host: typeof args[1] === "string" ? args[1] : undefined }
        : { path: first };
    }
    const host = String(options.host || "localhost");
    if (options.path || isHere(host)) return connect.apply(this, args);

    if (isFal(host)) {
      const redirected = { ...options, ...at, lookup: undefined, localAddress: undefined };
      if (isInner) {
        args[0][0] = redirected;
        return connect.apply(this, args);
      }
      const callback = args.find((argument) => typeof argument === "function");
      return connect.call(this, redirected, callback);
    }

    // What is written before the answer waits for the connection.
    this.connecting = true;
    askMock(net.isIPv6(host) ? `[${host}]:${options.port}` : `${host}:${options.port}`, (error) => {
      if (this.destroyed) return;
      if (error) this.destroy(error);
      else connect.apply(this, args);
    });
    return this;
  };
}
