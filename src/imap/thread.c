/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/thread.c: see imap/thread.h. Step numbers are those of RFC 5256 section 3, REFERENCES.
 *
 * While messages are added only pointers to parents are kept. Whether a new link would close a
 * ring is asked of sets of nodes that were ever linked (union-find); only within one set the way up
 * is walked, and not far. Afterwards what is missing is left out: each message hangs below the
 * nearest one that is there, or below the missing one at the top.
 */
#include "imap/thread.h"
#include "mime/text.h"
#include <stdlib.h>

struct thread_node {
	struct thread_node *parent;
	struct thread_node *set;      /* union-find */
	struct thread_node *above;    /* of a missing one: what hangs below it hangs below that */
	struct thread_node *first, *last, *next; /* children; siblings */
	size_t children;
	int64_t date, newest;         /* Date field; highest INTERNALDATE */
	uint32_t seq, uid;            /* seq 0: missing ("dummy") */
	uint32_t order;               /* seq, or its first child's */
	struct str subject;           /* base subject, as it compares */
	bool reply;                   /* or forward */
	bool dropped;                 /* an empty dummy */
};

void threading_init(struct threading *t, enum thread_algorithm algorithm, bool uid, struct arena *a)
{
	*t = (struct threading){.algorithm = algorithm, .uid = uid, .a = a, .ids = map_new()};
}

void threading_fini(struct threading *t)
{
	map_free(t->ids);
	t->ids = NULL;
}

/* ---- step 1: links ------------------------------------------------------------------------ */

static struct thread_node *new_node(struct threading *t)
{
	struct thread_node *n = arena_new_of(t->a, struct thread_node);

	n->set = n;
	t->nodes = arena_grow(t->a, t->nodes, t->n, &t->cap, sizeof(struct thread_node *));
	t->nodes[t->n++] = n;
	return n;
}

static struct thread_node *set_of(struct thread_node *n)
{
	while (n->set != n) {
		n->set = n->set->set;
		n = n->set;
	}
	return n;
}

static bool would_loop(const struct thread_node *child, struct thread_node *parent)
{
	unsigned steps = 0;

	if (child == parent)
		return true;
	if (set_of((struct thread_node *)(uintptr_t)child) != set_of(parent))
		return false;
	for (const struct thread_node *n = parent; n; n = n->parent)
		if (n == child || ++steps == THREAD_CLIMB_MAX)
			return true;
	return false;
}

static void link_to(struct thread_node *child, struct thread_node *parent)
{
	if (would_loop(child, parent))
		return;
	child->parent = parent;
	set_of(child)->set = set_of(parent);
}

/* "<"a b"@c>" and "<a b@c>" are one id. */
static struct str normal_id(struct threading *t, struct str id)
{
	if (!str_has_byte(id, '"') && !str_has_byte(id, '\\'))
		return id;
	char *p = arena_alloc(t->a, id.n);
	size_t n = 0;
	for (size_t i = 0; i < id.n; i++)
		if (id.p[i] != '"' && id.p[i] != '\\')
			p[n++] = id.p[i];
	return (struct str){p, n};
}

/* NULL: there are too many already. */
static struct thread_node *node_of(struct threading *t, struct str id, bool missing)
{
	struct thread_node *n = map_get(t->ids, id);

	if (n)
		return n;
	if (missing && t->n - t->real > t->real + THREAD_MISSING_MORE)
		return NULL;
	n = new_node(t);
	map_put(t->ids, id, n);
	return n;
}

static struct str last_references(struct str refs)
{
	size_t at = refs.n;

	for (unsigned n = 0; n < THREAD_REFERENCES_MAX && at; n++)
		do
			at--;
		while (at && refs.p[at - 1] != ' ');
	return str_from(refs, at);
}

static void link_references(struct threading *t, struct thread_node *n, const struct summary *sum)
{
	struct str refs = last_references(sum->references.n ? sum->references : sum->in_reply_to);
	struct thread_node *before = NULL;

	while (refs.n) {
		struct str id = str_cut(&refs, ' ');
		struct thread_node *r = id.n ? node_of(t, normal_id(t, id), true) : NULL;
		if (!r)
			continue;
		if (before && !r->parent)
			link_to(r, before);
		before = r;
	}
	if (before && before != n->parent)
		link_to(n, before);
}

void threading_add(struct threading *t, uint32_t seq, uint32_t uid, int64_t internaldate,
		   const struct summary *sum)
{
	struct thread_node *n = NULL;

	if (t->algorithm != THREAD_ORDEREDSUBJECT && sum->message_id.n)
		n = node_of(t, normal_id(t, sum->message_id), false);
	if (!n || n->seq) /* none, or one that another has as well */
		n = new_node(t);
	t->real++;
	n->seq = n->order = seq;
	n->uid = uid;
	n->newest = internaldate;
	n->date = sum->date_unix == SUMMARY_NO_DATE ? internaldate : sum->date_unix;
	n->subject = text_collation_key(t->a, utf8_cut(sum->base_subject, 255));
	n->reply = sum->flags & SUMMARY_SUBJECT_REFWD;
	if (t->algorithm != THREAD_ORDEREDSUBJECT)
		link_references(t, n, sum);
}

/* ---- order --------------------------------------------------------------------------------- */

static int by_date(const void *a, const void *b)
{
	const struct thread_node *x = *(struct thread_node *const *)a, *y = *(struct thread_node *const *)b;

	if (x->date != y->date)
		return x->date < y->date ? -1 : 1;
	return (x->order > y->order) - (x->order < y->order);
}

static int by_newest(const void *a, const void *b)
{
	const struct thread_node *x = *(struct thread_node *const *)a, *y = *(struct thread_node *const *)b;

	if (x->newest != y->newest)
		return x->newest < y->newest ? -1 : 1;
	return by_date(a, b);
}

static int by_subject(const void *a, const void *b)
{
	const struct thread_node *x = *(struct thread_node *const *)a, *y = *(struct thread_node *const *)b;
	int order = str_cmp(x->subject, y->subject);

	return order ? order : by_date(a, b);
}

static void sort_nodes(struct thread_node **list, size_t n, int (*order)(const void *a, const void *b))
{
	if (n > 1)
		qsort(list, n, sizeof(struct thread_node *), order);
}

static void add_child(struct thread_node *parent, struct thread_node *child)
{
	child->parent = parent;
	child->next = NULL;
	if (parent->last)
		parent->last->next = child;
	else
		parent->first = child;
	parent->last = child;
	parent->children++;
}

static void sort_children(struct threading *t, struct thread_node *parent)
{
	size_t n = 0, children = parent->children;

	if (children > 1) {
		struct thread_node **list = arena_array(t->a, children, sizeof(struct thread_node *));
		for (struct thread_node *c = parent->first; c; c = c->next)
			list[n++] = c;
		sort_nodes(list, n, by_date);
		parent->first = parent->last = NULL;
		parent->children = 0;
		for (size_t i = 0; i < n; i++)
			add_child(parent, list[i]);
	}
	if (!parent->seq && parent->first) {
		parent->date = parent->first->date;
		parent->order = parent->first->order;
	}
}

static void add_root(struct threading *t, struct thread_node *n)
{
	n->parent = NULL;
	t->roots = arena_grow(t->a, t->roots, t->roots_n, &t->roots_cap, sizeof(struct thread_node *));
	t->roots[t->roots_n++] = n;
}

/* ---- steps 2 to 4 --------------------------------------------------------------------------- */

/* What hangs below a missing message hangs below that one: a message, or the missing one at the top.
 * The answer is noted for all on the way, so each is passed once. */
static struct thread_node *above(struct thread_node *missing)
{
	struct thread_node *top = missing;

	while (!top->seq && !top->above && top->parent)
		top = top->parent;
	struct thread_node *answer = top->above ? top->above : top;
	for (struct thread_node *n = missing; n != top; n = n->parent)
		n->above = answer;
	return answer;
}

static void hang_up(struct threading *t)
{
	/* Parents first: adding children changes the pointers that above() follows. */
	struct thread_node **parents = arena_array(t->a, t->n ? t->n : 1, sizeof(struct thread_node *));

	for (size_t i = 0; i < t->n; i++) {
		struct thread_node *p = t->nodes[i]->parent;
		parents[i] = p && !p->seq ? above(p) : p;
	}
	for (size_t i = 0; i < t->n; i++)
		if (t->nodes[i]->seq && parents[i])
			add_child(parents[i], t->nodes[i]);
	for (size_t i = 0; i < t->n; i++) {
		struct thread_node *n = t->nodes[i];
		sort_children(t, n);
		if (parents[i])
			continue;
		if (n->seq || n->children > 1)
			add_root(t, n);
		else if (n->first)
			add_root(t, n->first);
	}
	sort_nodes(t->roots, t->roots_n, by_date);
}

/* ---- step 5: subjects ----------------------------------------------------------------------- */

static struct str thread_subject(const struct thread_node *root)
{
	return root->seq ? root->subject : root->first->subject;
}

static bool is_better(const struct thread_node *n, const struct thread_node *than)
{
	return than->seq && (!n->seq || (than->reply && !n->reply));
}

static void note_subjects(struct threading *t, struct map *subjects)
{
	for (size_t i = 0; i < t->roots_n; i++) {
		struct str subject = thread_subject(t->roots[i]);
		const struct thread_node *known = subject.n ? map_get(subjects, subject) : NULL;
		if (subject.n && (!known || is_better(t->roots[i], known)))
			map_put(subjects, subject, t->roots[i]);
	}
}

static void move_children(struct thread_node *from, struct thread_node *to)
{
	struct thread_node *next;

	for (struct thread_node *c = from->first; c; c = next) {
		next = c->next;
		add_child(to, c);
	}
	from->dropped = true;
}

static void merge(struct threading *t, struct map *subjects, struct thread_node *n, struct thread_node *into)
{
	if (!n->seq && !into->seq) {
		move_children(n, into);
	} else if (!into->seq || (n->reply && !into->reply)) {
		add_child(into, n);
	} else {
		struct thread_node *both = new_node(t);
		struct str subject = thread_subject(into);
		add_child(both, into);
		add_child(both, n);
		map_put(subjects, subject, both);
		add_root(t, both);
	}
}

static void gather_subjects(struct threading *t)
{
	struct map *subjects = map_new();
	size_t n = t->roots_n, kept = 0;

	note_subjects(t, subjects);
	for (size_t i = 0; i < n; i++) {
		struct str subject = thread_subject(t->roots[i]);
		struct thread_node *known = subject.n ? map_get(subjects, subject) : NULL;
		if (known && known != t->roots[i])
			merge(t, subjects, t->roots[i], known);
	}
	map_free(subjects);
	for (size_t i = 0; i < t->roots_n; i++)
		if (!t->roots[i]->parent && !t->roots[i]->dropped)
			t->roots[kept++] = t->roots[i];
	t->roots_n = kept;
	for (size_t i = 0; i < kept; i++) /* step 6 */
		sort_children(t, t->roots[i]);
	sort_nodes(t->roots, t->roots_n, by_date);
}

/* ---- the other algorithms ------------------------------------------------------------------- */

/* In preorder; NULL after the last one below root. */
static struct thread_node *next_node(const struct thread_node *root, struct thread_node *n)
{
	if (n->first)
		return n->first;
	while (n != root && !n->next)
		n = n->parent;
	return n == root ? NULL : n->next;
}

static void sort_by_newest(struct threading *t)
{
	for (size_t i = 0; i < t->roots_n; i++) {
		struct thread_node *root = t->roots[i];
		for (struct thread_node *n = root; n; n = next_node(root, n))
			if (n->newest > root->newest)
				root->newest = n->newest;
	}
	sort_nodes(t->roots, t->roots_n, by_newest);
}

/* The first of each subject is the parent of the others. */
static void ordered_subjects(struct threading *t)
{
	struct thread_node *first = NULL;

	sort_nodes(t->nodes, t->n, by_subject);
	for (size_t i = 0; i < t->n; i++) {
		if (first && str_eq(first->subject, t->nodes[i]->subject)) {
			add_child(first, t->nodes[i]);
		} else {
			first = t->nodes[i];
			add_root(t, first);
		}
	}
	sort_nodes(t->roots, t->roots_n, by_date);
}

/* ---- the response ---------------------------------------------------------------------------- */

static void write_number(const struct threading *t, struct buf *out, const struct thread_node *n)
{
	if (!n->seq)
		return;
	if (out->p[out->n - 1] != '(')
		buf_byte(out, ' ');
	buf_u64(out, t->uid ? n->uid : n->seq);
}

/* thread-list = "(" (thread-members / thread-nested) ")"
 * thread-members = nz-number *(SP nz-number) [SP thread-nested]; thread-nested = 2*thread-list */
static void write_thread(const struct threading *t, struct buf *out, const struct thread_node *root)
{
	const struct thread_node *n = root;

	buf_byte(out, '(');
	for (;;) {
		write_number(t, out, n);
		if (n->children > 1)
			buf_add(out, out->p[out->n - 1] == '(' ? STR("(") : STR(" ("));
		if (n->first) {
			n = n->first;
			continue;
		}
		while (n != root && !n->next) {
			n = n->parent;
			if (n->children > 1)
				buf_byte(out, ')');
		}
		if (n == root)
			break;
		n = n->next;
		buf_add(out, STR(")("));
	}
	buf_byte(out, ')');
}

void threading_write(struct threading *t, struct buf *out)
{
	switch (t->algorithm) {
	case THREAD_ORDEREDSUBJECT:
		ordered_subjects(t);
		break;
	case THREAD_REFERENCES:
		hang_up(t);
		gather_subjects(t);
		break;
	case THREAD_REFS:
		hang_up(t);
		sort_by_newest(t);
		break;
	}
	for (size_t i = 0; i < t->roots_n; i++)
		write_thread(t, out, t->roots[i]);
}
