// Executes code with the types that openapi-typescript makes of docs/openapi.json. The compiler
// checks it; with the address of a Kaa it is run, too.
import type { components, operations, paths } from "./kaa.d.ts";

declare const process: { argv: string[]; exit(code: number): never };

type Execute = operations["execute"];
type Body = Execute["requestBody"]["content"]["application/json"];
type Result = Execute["responses"][200]["content"]["application/json"];
type Problem = components["schemas"]["Problem"];

const path = "/process/interpreter/execute" satisfies keyof paths;

async function execute(url: string, body: Body): Promise<Result> {
  const response = await fetch(url + path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!response.ok) {
    const problem = (await response.json()) as Problem;
    throw new Error(`${problem.code}: ${problem.detail}`);
  }
  return (await response.json()) as Result;
}

const url = process.argv[2];
if (url !== undefined) {
  const result = await execute(url, { code: "print(6 * 7)", timeout: 10 });
  if (result.status !== "ok" || result.stdout !== "42\n" || result.exitCode !== 0) {
    console.error(result);
    process.exit(1);
  }
}
