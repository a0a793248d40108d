// The smoke of E2B's SDK for JavaScript. E2B_API_URL, E2B_SANDBOX_URL and E2B_API_KEY say where Kaa is.
import assert from 'node:assert/strict'
import { Sandbox } from '@e2b/code-interpreter'

const sandbox = await Sandbox.create({ timeoutMs: 1_800_000, metadata: { of: 'smoke' } })
try {
  const run = await sandbox.runCode('x = 41\nprint("é")\nx + 1')
  assert.equal(run.text, '42')
  assert.deepEqual(run.logs.stdout, ['é\n'])
  const failed = await sandbox.runCode('1 / 0')
  assert.equal(failed.error.name, 'ZeroDivisionError')
  const context = await sandbox.createCodeContext({ cwd: '/tmp' })
  assert.equal((await sandbox.runCode('import os; os.getcwd()', { context })).text, '/tmp')
  await sandbox.files.write('notes/a.txt', 'text')
  assert.equal(await sandbox.files.read('notes/a.txt'), 'text')
  assert.deepEqual((await sandbox.files.list('notes')).map((e) => e.name), ['a.txt'])
  const info = await sandbox.files.write('notes/b.txt', 'text', { metadata: { author: 'me' } })
  assert.deepEqual(info.metadata, { author: 'me' })
  assert.deepEqual((await sandbox.files.getInfo('notes/b.txt')).metadata, { author: 'me' })
  const command = await sandbox.commands.run('cat notes/a.txt && pwd')
  assert.equal(command.stdout, 'text/home/user\n')
  await assert.rejects(sandbox.commands.run('exit 3'), (e) => e.exitCode === 3)
  await assert.rejects(sandbox.files.read('none.txt'), /does not exist/)
} finally {
  assert.equal(await sandbox.kill(), true)
}
assert.equal(await sandbox.isRunning(), false)
