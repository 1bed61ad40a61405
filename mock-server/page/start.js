/** What somebody sees who has just come: what to run to see the first job. */

import { copyButton, el } from "./dom.js";

const WAYS = (at) => [
  ["curl", "A job that waits, runs and ends in about a second.",
    `curl -H 'Authorization: Key any:key' -d '{"prompt":"a cat"}' \\\n  ${at}/queue.fal.run/fal-ai/flux/dev`],
  ["Any program, unmodified", "Python, Node.js or what you have: it starts with a mock of its own, on a port that it prints.",
    "fal-mock exec -- python app.py"],
  ["Python", "The official client, led here by its environment.",
    `HTTPS_PROXY=${at} SSL_CERT_FILE=ca.pem FAL_KEY=any:key python app.py`,
    `curl -so ca.pem ${at}/__mock/v1/ca.pem`],
  ["JavaScript", "The official client, by its own setting.",
    `fal.config({\n  proxyUrl: { url: "${at}/api/fal/proxy", when: "always" },\n  credentials: "any:key",\n});`],
  ["Rust", "This workspace's client and command line.",
    `FAL_BASE_URL=${at} FAL_KEY=any:key cargo run`],
];

/** The page of a mock that has seen nothing yet. */
export function welcome() {
  const way = ([name, why, code, before]) => {
    const text = before ? `${before}\n${code}` : code;
    return el("section", { class: "way" },
      el("div", { class: "part-head" }, el("h3", { text: name }), copyButton(`what to run with ${name}`, () => text)),
      el("p", { class: "dim", text: why }),
      el("pre", { class: "code", tabindex: "0", text }));
  };
  return [
    el("h2", { text: "No jobs yet" }),
    el("p", {}, "This mock answers at ", el("code", { text: location.origin }),
      ". Nothing here costs money, and nothing leaves this machine. Run one of these, and the first job appears here by itself."),
    el("div", { class: "ways" }, WAYS(location.origin).map(way)),
    el("p", { class: "dim" }, "All that this page does is in the ",
      el("a", { href: "/__mock/v1/openapi.json", target: "_blank", rel: "noopener", text: "control API" }), ", for scripts too."),
  ];
}
