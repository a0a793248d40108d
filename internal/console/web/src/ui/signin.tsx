import { useLayoutEffect, useRef, useState } from 'preact/hooks'
import { refused, signIn, wordsOf } from '../api'
import { Button, Field } from './basics'

// SignIn asks for a key. It is over the page, which keeps what it has.
export function SignIn() {
  const input = useRef<HTMLInputElement>(null)
  const [error, setError] = useState(refused.value ?? '')
  const [busy, setBusy] = useState(false)
  useLayoutEffect(() => { input.current?.focus() }, [])
  const send = async (e: Event) => {
    e.preventDefault()
    const { value } = input.current!
    if (!value.trim()) {
      setError('Enter a key.')
      return
    }
    setBusy(true)
    try {
      await signIn(value)
    } catch (err) {
      setError(wordsOf(err))
      setBusy(false)
      input.current?.select()
    }
  }
  return (
    <div class="cover">
      <div class="card signin" role="dialog" aria-modal="true" aria-labelledby="signin-title"><form onSubmit={send}>
        <h1 id="signin-title">Sign in</h1>
        <p>This Kaa asks for an API key. It is kept in this tab only, and forgotten when the tab is closed.</p>
        <Field label="API key" error={error}>
          {(a) => <input {...a} ref={input} type="password" autocomplete="off" spellcheck={false} onInput={() => setError('')} />}
        </Field>
        <Button kind="main" type="submit" busy={busy}>Sign in</Button>
        <p class="hint">A token of the identity provider works, too, where the operator has set one up.</p>
      </form></div>
    </div>
  )
}
