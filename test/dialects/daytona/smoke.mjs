// The smoke of Daytona's SDK for JavaScript. KAA_URL and KAA_API_KEY say where Kaa is.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'

// The SDK has two names. The one to try is in a version of its own; others may be beside it.
const [sdk] = Object.entries(JSON.parse(readFileSync('package.json')).dependencies).find(([, version]) => version !== '*')
process.env.DAYTONA_API_URL ??= process.env.KAA_URL + '/daytona/api'
process.env.DAYTONA_API_KEY ??= process.env.KAA_API_KEY
const { Daytona, DaytonaNotFoundError } = await import(sdk)

const daytona = new Daytona()
const labels = { run: String(Date.now()) }
const sandbox = await daytona.create({ language: 'python', labels, envVars: { A: '1' } }, { timeout: 600 })
const bytes = async (stream) => Buffer.concat(await Array.fromAsync?.(stream) ?? (await stream.toArray()))
try {
  assert.deepEqual([sandbox.state, await sandbox.getUserHomeDir()], ['started', '/home/daytona'])
  for await (const one of daytona.list({ labels })) assert.equal(one.id, sandbox.id)
  await assert.rejects(daytona.get('none'), DaytonaNotFoundError)

  const { fs, process: run, codeInterpreter: interpreter, git } = sandbox
  await fs.uploadFiles([{ source: Buffer.from('é'), destination: 'd/a.txt' }, { source: Buffer.from('b'), destination: 'd/b.txt' }])
  assert.deepEqual((await fs.listFiles('d')).map((f) => f.name).sort(), ['a.txt', 'b.txt'])
  assert.equal((await bytes(await fs.downloadFileStream('d/a.txt'))).toString(), 'é')
  assert.deepEqual((await fs.downloadFiles([{ source: 'd/b.txt' }, { source: 'd/none' }])).map((f) => [f.result?.toString(), Boolean(f.error)]), [['b', false], [undefined, true]])
  await fs.replaceInFiles(['d/b.txt'], 'b', 'c')
  await fs.moveFiles('d/b.txt', 'd/c.txt')
  assert.equal((await fs.downloadFile('d/c.txt')).toString(), 'c')
  assert.equal(await (await fetch(await sandbox.downloadUrl('d/c.txt'))).text(), 'c')

  assert.deepEqual(await run.executeCommand('echo $A$B; echo err >&2; exit 3', '/tmp', { B: '2' }), { exitCode: 3, result: '12\nerr\n', artifacts: { stdout: '12\nerr\n' } })
  await assert.rejects(run.executeCommand('sleep 60', undefined, undefined, 1), (e) => e.code === 'PROCESS_EXECUTION_TIMEOUT')
  assert.equal((await run.codeRun('print(6 * 7)')).result, '42\n')

  await run.createSession('s')
  const line = await run.executeSessionCommand('s', { command: 'cd /tmp; echo out; echo err >&2', runAsync: true })
  assert.deepEqual(line, { cmdId: line.cmdId, output: null, stdout: '', stderr: '', exitCode: null })
  const out = [], err = []
  await run.getSessionCommandLogs('s', line.cmdId, (text) => out.push(text), (text) => err.push(text))
  assert.deepEqual([out.join(''), err.join('')], ['out\n', 'err\n'])
  const next = await run.executeSessionCommand('s', { command: 'pwd' })
  assert.deepEqual(next, { cmdId: next.cmdId, output: '\x01\x01\x01/tmp\n', stdout: '/tmp\n', stderr: '', exitCode: 0 })
  await run.deleteSession('s')
  await assert.rejects(run.getSession('s'), (e) => e.code === 'PROCESS_NOT_FOUND')

  const context = await interpreter.createContext('/tmp')
  await interpreter.runCode('x = 1', { context })
  assert.deepEqual(await interpreter.runCode('import os; print(x, os.getcwd(), "é")', { context }), { stdout: '1 /tmp é\n', stderr: '' })
  assert.equal((await interpreter.runCode('1 / 0')).error.name, 'ZeroDivisionError')
  await assert.rejects(interpreter.runCode('import time; time.sleep(60)', { timeout: 1 }), (e) => e.constructor.name === 'DaytonaTimeoutError')

  let seen = ''
  const terminal = await run.createPty({ id: 't', cols: 80, rows: 24, onData: (data) => { seen += new TextDecoder().decode(data) } })
  await terminal.resize(100, 30)
  await terminal.sendInput('echo =$(stty size)=; exit 4\n')
  assert.equal((await terminal.wait()).exitCode, 4)
  assert.match(seen, /=30 100=/)
  await terminal.disconnect()

  if ((await run.executeCommand('git --version')).exitCode === 0) {
    await git.init('repo', false, 'main')
    await git.add('d', ['.']).then(() => assert.fail('no repository'), (e) => assert.equal(e.code, 'GIT_REPO_NOT_FOUND'))
    await git.commit('repo', 'first', 'A', 'a@example.com', true)
    assert.equal((await git.status('repo')).currentBranch, 'main')
  }
  await sandbox.stop(600)
  assert.equal(sandbox.state, 'stopped')
  await sandbox.start(600)
  assert.equal((await fs.downloadFile('d/c.txt')).toString(), 'c')
} finally {
  await daytona.delete(sandbox)
}
process.exit() // the SDK keeps a connection for events open
