import { Component, createElement, type ComponentType } from 'preact'

// memo renders a component again only if one of its properties is another one.
export function memo<P extends object>(shown: ComponentType<P>): ComponentType<P> {
  return class extends Component<P> {
    shouldComponentUpdate(next: P) {
      return (Object.keys({ ...this.props, ...next }) as (keyof P)[]).some((k) => next[k] !== (this.props as P)[k])
    }
    render() { return createElement(shown, this.props as P) }
  } as unknown as ComponentType<P>
}
