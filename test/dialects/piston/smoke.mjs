// A client of Piston's API for JavaScript. KAA_URL and KAA_API_KEY say where Kaa is.
import assert from 'node:assert/strict'
import piston from 'piston-client'

const client = piston({ server: process.env.KAA_URL.replace('://', `://kaa:${process.env.KAA_API_KEY}@`) + '/piston' })
const [python, bash] = await client.runtimes()
assert.deepEqual([python.language, bash.language], ['python', 'bash'])
const ran = await client.execute('python', 'import sys\nprint(input(), sys.argv[1:])', { stdin: 'in', args: ['a'], runTimeout: 300_000 })
assert.deepEqual([ran.language, ran.version, ran.run.stdout, ran.run.code], ['python', python.version, "in ['a']\n", 0])
const files = [{ name: 'main.py', content: 'import m; print(m.x)' }, { name: 'm.py', content: 'x = 5' }]
assert.equal((await client.execute({ language: 'python', files, runTimeout: 300_000 })).run.stdout, '5\n')
const failed = await client.execute('python', '1 / 0', { runTimeout: 300_000 })
assert.equal(failed.run.code, 1)
assert.match(failed.run.stderr, /ZeroDivisionError/)
assert.match((await client.execute('rust', 'fn main() {}', { version: '1' })).message, /rust-1 runtime is unknown/)
