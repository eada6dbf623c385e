import project from "../../deno.json" with { type: "json" };

/** What ran where, as far as it can be told without a permission: "Pollard 0.1.0, Deno 2.9.6, V8 15.0, x86_64 linux, 2 CPUs". */
export function platformLine(): string {
  const { deno, v8 } = Deno.version;
  const { arch, os } = Deno.build;
  return `Pollard ${project.version}, Deno ${deno}, V8 ${v8}, ${arch} ${os}, ${navigator.hardwareConcurrency} CPUs`;
}
