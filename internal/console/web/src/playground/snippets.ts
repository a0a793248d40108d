// A program with its settings as calls of other clients.
import { address, me } from '../api'
import { parsedEnvs, type Settings } from './settings'

const quoted = (s: string) => `'${s.replaceAll("'", `'\\''`)}'`

export function curl(body: Record<string, unknown>): string {
  const auth = me.value?.required ? ` \\\n  -H "Authorization: Bearer $KAA_API_KEY"` : ''
  return `curl -X POST ${address()}/process/interpreter/execute${auth} \\\n  -H 'Content-Type: application/json' \\\n  -d ${quoted(JSON.stringify(body))}`
}

export function python(code: string, s: Settings): string {
  const more: string[] = []
  if (s.runtime) more.push(`runtime=${JSON.stringify(s.runtime)}`)
  if (s.timeout) more.push(`timeout=${Number(s.timeout)}`)
  if (s.stdin) more.push(`stdin=${JSON.stringify(s.stdin)}`)
  if (s.envs.trim()) more.push(`envs=${JSON.stringify(parsedEnvs(s.envs))}`)
  const limits = [s.memory && `"memory_bytes": ${Math.round(Number(s.memory) * (1 << 20))}`, s.cpus && `"cpus": ${Number(s.cpus)}`].filter(Boolean)
  if (limits.length) more.push(`limits={${limits.join(', ')}}`)
  const open = me.value?.required ? 'import os\nimport kaa\n\n' : 'import kaa\n\n'
  const client = `kaa.Kaa(${JSON.stringify(address())}${me.value?.required ? ', os.environ["KAA_API_KEY"]' : ''})`
  return `${open}client = ${client}\nresult = client.run(${[JSON.stringify(code), ...more].join(', ')})\nprint(result.text)\n`
}

export function cli(code: string, s: Settings): string {
  const flags = [
    s.runtime && `--runtime ${quoted(s.runtime)}`, s.timeout && `--timeout ${Number(s.timeout)}s`, s.memory && `--memory ${Number(s.memory)}M`, s.cpus && `--cpus ${Number(s.cpus)}`,
    ...Object.entries(parsedEnvs(s.envs)).map(([k, v]) => `--env ${quoted(`${k}=${v}`)}`),
  ].filter(Boolean).join(' ')
  const end = code.endsWith('\n') ? '' : '\n'
  return `export KAA_URL=${address()}\ncat >program.py <<'END_OF_PROGRAM'\n${code}${end}END_OF_PROGRAM\n${s.stdin ? `printf %s ${quoted(s.stdin)} | ` : ''}kaa run ${flags ? flags + ' ' : ''}program.py\n`
}
