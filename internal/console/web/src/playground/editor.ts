// The editor, which is loaded when it is needed. It is in a shadow root: there CodeMirror uses sheets that it constructs, and no style elements,
// which the policy of the page would refuse.
import './strict'
import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap, type CompletionContext, type CompletionResult } from '@codemirror/autocomplete'
import { defaultKeymap, history, historyKeymap, indentWithTab, temporarilySetTabFocusMode } from '@codemirror/commands'
import { python } from '@codemirror/lang-python'
import { bracketMatching, HighlightStyle, indentOnInput, indentUnit, syntaxHighlighting } from '@codemirror/language'
import { highlightSelectionMatches, searchKeymap } from '@codemirror/search'
import { EditorState, Prec, StateEffect, StateField } from '@codemirror/state'
import { Decoration, drawSelection, EditorView, highlightActiveLine, highlightActiveLineGutter, highlightSpecialChars, keymap, lineNumbers, type DecorationSet } from '@codemirror/view'
import { tags as t } from '@lezer/highlight'

const setMark = StateEffect.define<number | null>()
const mark = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update(shown, tr) {
    shown = shown.map(tr.changes)
    for (const e of tr.effects) {
      if (!e.is(setMark)) continue
      shown = e.value === null || e.value < 1 || e.value > tr.state.doc.lines ? Decoration.none
        : Decoration.set([Decoration.line({ class: 'cm-wrong', attributes: { 'aria-label': 'The error is in this line' } }).range(tr.state.doc.line(e.value).from)])
    }
    return shown
  },
  provide: (f) => EditorView.decorations.from(f),
})

const colours = HighlightStyle.define([
  { tag: [t.keyword, t.controlKeyword, t.operatorKeyword, t.definitionKeyword, t.moduleKeyword], color: 'var(--k-keyword)' },
  { tag: [t.string, t.special(t.string), t.regexp], color: 'var(--k-string)' },
  { tag: [t.number, t.bool, t.null], color: 'var(--k-number)' },
  { tag: t.comment, color: 'var(--k-comment)', fontStyle: 'italic' },
  { tag: [t.function(t.variableName), t.function(t.propertyName)], color: 'var(--k-def)' },
  { tag: [t.definition(t.className), t.className, t.typeName], color: 'var(--k-name)' },
  { tag: [t.meta, t.self], color: 'var(--k-name)' },
])

const look = EditorView.theme({
  '&': { height: '100%', color: 'var(--text)', backgroundColor: 'var(--panel)', fontSize: '14px' },
  '.cm-scroller': { fontFamily: 'var(--mono)', lineHeight: '1.55' },
  '.cm-content': { caretColor: 'var(--accent)', padding: '10px 0' },
  '&.cm-focused': { outline: 'none' },
  '&.cm-focused .cm-cursor': { borderLeftColor: 'var(--accent)', borderLeftWidth: '2px' },
  '.cm-gutters': { backgroundColor: 'var(--panel)', color: 'var(--muted)', border: 'none' },
  '.cm-activeLine, .cm-activeLineGutter': { backgroundColor: 'var(--line-active)' },
  '&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground': { backgroundColor: 'var(--selection) !important' },
  '.cm-wrong': { backgroundColor: 'var(--mark) !important', boxShadow: 'inset 3px 0 var(--bad)' },
  '.cm-tooltip, .cm-panels': { backgroundColor: 'var(--raised)', color: 'var(--text)', border: '1px solid var(--border)' },
  '.cm-tooltip-autocomplete ul li[aria-selected]': { backgroundColor: 'var(--accent-soft)', color: 'var(--text)' },
  '.cm-searchMatch': { backgroundColor: 'var(--warn-soft)' },
})

// overSelection takes text that is typed over a selection. The browser would give it the look of what it replaces, by a style attribute, which the policy
// of the page refuses with an error.
const overSelection = EditorView.domEventHandlers({
  beforeinput(e, view) {
    const { ranges, main } = view.state.selection
    const text = e.data
    if (e.inputType !== 'insertText' || !text || main.empty || ranges.length > 1 || view.composing) return false
    const insert = () => view.state.update(view.state.replaceSelection(text), { userEvent: 'input.type', scrollIntoView: true })
    if (!view.state.facet(EditorView.inputHandler).some((f) => f(view, main.from, main.to, text, insert))) view.dispatch(insert())
    e.preventDefault()
    return true
  },
})

export interface Options {
  text: string
  onChange: (text: string) => void
  onRun: () => void
  complete: (path: string, prefix: string) => Promise<string[]>
}

export class Editor {
  private view: EditorView

  constructor(host: HTMLElement, o: Options) {
    const root = host.shadowRoot ?? host.attachShadow({ mode: 'open' })
    root.replaceChildren()
    const run = () => { o.onRun(); return true }
    this.view = new EditorView({
      root, parent: root,
      state: EditorState.create({
        doc: o.text,
        extensions: [
          Prec.highest(keymap.of([{ key: 'Mod-Enter', run, preventDefault: true }, { key: 'Ctrl-Enter', run, preventDefault: true }])),
          lineNumbers(), highlightActiveLineGutter(), highlightSpecialChars(), history(), drawSelection(), indentOnInput(), bracketMatching(), closeBrackets(),
          highlightActiveLine(), highlightSelectionMatches(), indentUnit.of('    '), python(), syntaxHighlighting(colours), look, mark, overSelection,
          python().language.data.of({ autocomplete: sessionNames(o.complete) }),
          autocompletion({ icons: false }),
          // Escape and then Tab leaves the editor: the keyboard is not caught in it.
          keymap.of([{ key: 'Escape', run: temporarilySetTabFocusMode }, ...closeBracketsKeymap, ...completionKeymap, ...searchKeymap, ...historyKeymap, indentWithTab, ...defaultKeymap]),
          EditorView.updateListener.of((u) => { if (u.docChanged) o.onChange(u.state.doc.toString()) }),
          EditorView.contentAttributes.of({ 'aria-label': 'Program in Python', tabindex: '0', spellcheck: 'false', autocapitalize: 'off' }),
        ],
      }),
    })
  }

  get text(): string { return this.view.state.doc.toString() }

  set(text: string) {
    if (text !== this.text) this.view.dispatch({ changes: { from: 0, to: this.view.state.doc.length, insert: text }, effects: setMark.of(null) })
  }

  markLine(line: number | null) {
    this.view.dispatch({ effects: [setMark.of(line), ...(line && line <= this.view.state.doc.lines ? [EditorView.scrollIntoView(this.view.state.doc.line(line).from)] : [])] })
  }

  focus() { this.view.focus() }
  destroy() { this.view.destroy() }
}

// sessionNames completes names of the session, and members of its objects.
function sessionNames(complete: Options['complete']) {
  return async (context: CompletionContext): Promise<CompletionResult | null> => {
    const word = context.matchBefore(/(?:[^\W\d]\w*\.)*(?:[^\W\d]\w*)?/u)
    if (!word || word.from === word.to && !context.explicit) return null
    const dot = word.text.lastIndexOf('.')
    const names = await complete(dot < 0 ? '' : word.text.slice(0, dot), word.text.slice(dot + 1))
    if (names.length === 0 || context.aborted) return null
    return { from: word.from + dot + 1, options: names.map((label) => ({ label, type: 'variable', boost: label.startsWith('_') ? -1 : 1 })), validFor: /^\w*$/ }
  }
}
